//go:build interop

// The program go-jose answers the interop suite's JSON lines by go-jose: what of
// DIDComm's envelopes is plain JOSE. It shares no code with this module.
//
// One request a line on standard input, one answer a line on standard output; all
// else goes to standard error.
package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// errLacks is what go-jose does not offer.
var errLacks = errors.New("lacks")

// errMissing is what this program does not find in a request.
var errMissing = errors.New("missing")

// The algorithms of DIDComm that go-jose has.
var (
	signatures = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.ES384, jose.ES512}
	wraps      = []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}
	encs       = []jose.ContentEncryption{jose.A256CBC_HS512, jose.A256GCM}
)

type request struct {
	ID     json.RawMessage `json:"id"`
	Op     string          `json:"op"`
	Params params          `json:"params"`
}

type params struct {
	Secrets      []json.RawMessage `json:"secrets"`
	Documents    []document        `json:"documents"`
	Message      json.RawMessage   `json:"message"`
	Envelope     json.RawMessage   `json:"envelope"`
	To           string            `json:"to"`
	From         string            `json:"from"`
	SignBy       string            `json:"sign_by"`
	Enc          string            `json:"enc"`
	FromPriorKID string            `json:"from_prior_issuer_kid"`
	Forward      bool              `json:"forward"`
	Times        int               `json:"times"`
}

type document struct {
	ID                 string   `json:"id"`
	KeyAgreement       []string `json:"keyAgreement"`
	Authentication     []string `json:"authentication"`
	VerificationMethod []struct {
		ID           string          `json:"id"`
		PublicKeyJwk json.RawMessage `json:"publicKeyJwk"`
	} `json:"verificationMethod"`
}

// metadata is what go-jose reports of the layers.
type metadata struct {
	Encrypted       bool   `json:"encrypted"`
	NonRepudiation  bool   `json:"non_repudiation"`
	AnonymousSender bool   `json:"anonymous_sender"`
	EncAlgAnon      string `json:"enc_alg_anon,omitempty"`
	SignFrom        string `json:"sign_from,omitempty"`
	SignAlg         string `json:"sign_alg,omitempty"`
}

func base(didURL string) string {
	did, _, _ := strings.Cut(didURL, "#")
	return did
}

// secret is the private JWK of that kid.
func (p params) secret(kid string) (jose.JSONWebKey, error) {
	for _, data := range p.Secrets {
		var named struct{ Kid string }
		if err := json.Unmarshal(data, &named); err != nil {
			return jose.JSONWebKey{}, err
		}
		if named.Kid == kid {
			var key jose.JSONWebKey
			err := key.UnmarshalJSON(data)
			return key, err
		}
	}
	return jose.JSONWebKey{}, fmt.Errorf("%w: no secret of %s", errMissing, kid)
}

func (p params) document(didURL string) (document, error) {
	for _, d := range p.Documents {
		if d.ID == base(didURL) {
			return d, nil
		}
	}
	return document{}, fmt.Errorf("%w: no document of %s", errMissing, didURL)
}

// public is the public JWK of a key among those of a purpose.
func (d document) public(purpose []string, kid string) (jose.JSONWebKey, error) {
	for _, m := range d.VerificationMethod {
		if m.ID == kid && slices.Contains(purpose, kid) {
			var key jose.JSONWebKey
			err := key.UnmarshalJSON(m.PublicKeyJwk)
			return key, err
		}
	}
	return jose.JSONWebKey{}, fmt.Errorf("%w: no key %s for that purpose", errMissing, kid)
}

func hello() (any, error) {
	versions := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/go-jose/go-jose/v4" {
				versions["go-jose/v4"] = strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	language := "Go " + strings.TrimPrefix(runtime.Version(), "go")
	return map[string]any{"name": "go-jose", "language": language, "versions": versions}, nil
}

func pack(p params) (any, error) {
	k, err := p.packer()
	if err != nil {
		return nil, err
	}
	envelope, err := k.pack(p.Message)
	return map[string]json.RawMessage{"envelope": envelope}, err
}

// packer has what a message is signed and encrypted with; either may be nil.
type packer struct {
	signer    jose.Signer
	encrypter jose.Encrypter
}

func (p params) packer() (k packer, err error) {
	switch {
	case p.From != "":
		return k, fmt.Errorf("%w: ECDH-1PU", errLacks)
	case p.FromPriorKID != "", p.Forward:
		return k, fmt.Errorf("%w: DIDComm's protocols", errLacks)
	case p.To == "" && p.SignBy == "":
		return k, fmt.Errorf("%w: messages without an envelope", errLacks)
	}
	if p.SignBy != "" {
		if k.signer, err = p.signer(); err != nil {
			return k, err
		}
	}
	if p.To != "" {
		k.encrypter, err = p.encrypter()
	}
	return k, err
}

func (k packer) pack(payload []byte) ([]byte, error) {
	if k.signer != nil {
		signed, err := k.signer.Sign(payload)
		if err != nil {
			return nil, err
		}
		payload = []byte(signed.FullSerialize())
	}
	if k.encrypter != nil {
		encrypted, err := k.encrypter.Encrypt(payload)
		if err != nil {
			return nil, err
		}
		payload = []byte(encrypted.FullSerialize())
	}
	return payload, nil
}

// signer makes a JWS of one signature, with kid in its protected header.
func (p params) signer() (jose.Signer, error) {
	key, err := p.secret(p.SignBy)
	if err != nil {
		return nil, err
	}
	var alg jose.SignatureAlgorithm
	switch k := key.Key.(type) {
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	case *ecdsa.PrivateKey:
		alg = map[string]jose.SignatureAlgorithm{"P-256": jose.ES256, "P-384": jose.ES384, "P-521": jose.ES512}[k.Params().Name]
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key},
		(&jose.SignerOptions{}).WithType("application/didcomm-signed+json"))
}

// encrypter makes a JWE for all keys that a DID or key's DID URL stands for.
func (p params) encrypter() (jose.Encrypter, error) {
	doc, err := p.document(p.To)
	if err != nil {
		return nil, err
	}
	kids := doc.KeyAgreement
	if p.To != doc.ID {
		kids = []string{p.To}
	}
	var recipients []jose.Recipient
	for _, kid := range kids {
		key, err := doc.public(doc.KeyAgreement, kid)
		if err != nil {
			return nil, err
		}
		recipients = append(recipients, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: key.Key, KeyID: kid})
	}
	return jose.NewMultiEncrypter(jose.ContentEncryption(p.Enc), recipients,
		(&jose.EncrypterOptions{}).WithType("application/didcomm-encrypted+json"))
}

// unpack removes layer by layer.
func unpack(p params) (any, error) {
	var meta metadata
	value := []byte(p.Envelope)
	var compact string // an envelope in Compact serialization
	if json.Unmarshal(value, &compact) == nil {
		value = []byte(compact)
	}
	for layers := 0; ; layers++ {
		var members map[string]json.RawMessage
		err := json.Unmarshal(value, &members)
		parts := bytes.Count(value, []byte(".")) + 1
		switch {
		case err != nil && parts == 5, members["ciphertext"] != nil:
			value, err = p.decrypt(value, &meta)
		case err != nil && parts == 3, members["payload"] != nil:
			value, err = p.verify(value, &meta)
		case err != nil:
			return nil, err
		case layers == 0:
			return nil, fmt.Errorf("%w: messages without an envelope", errLacks)
		case string(members["type"]) == `"https://didcomm.org/routing/2.0/forward"`, members["from_prior"] != nil:
			return nil, fmt.Errorf("%w: DIDComm's protocols", errLacks)
		default:
			return map[string]any{"message": json.RawMessage(value), "metadata": meta}, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func isJSON(envelope []byte) bool { return envelope[0] == '{' }

func (p params) decrypt(envelope []byte, meta *metadata) ([]byte, error) {
	parse := jose.ParseEncryptedCompact
	if isJSON(envelope) {
		parse = jose.ParseEncryptedJSON
	}
	encrypted, err := parse(string(envelope), wraps, encs)
	if err != nil {
		return nil, err
	}
	type recipient struct{ Header struct{ Kid string } }
	var value struct {
		recipient  // of Flattened serialization
		Recipients []recipient
	}
	_ = json.Unmarshal(envelope, &value) // fails in Compact serialization
	kids := []string{encrypted.Header.KeyID, value.Header.Kid}
	for _, r := range value.Recipients {
		kids = append(kids, r.Header.Kid)
	}
	for _, kid := range kids {
		key, err := p.secret(kid)
		if errors.Is(err, errMissing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, opened, plaintext, err := encrypted.DecryptMulti(key.Key)
		if err != nil {
			return nil, err
		}
		meta.Encrypted, meta.AnonymousSender = true, true
		meta.EncAlgAnon = fmt.Sprint(opened.ExtraHeaders["enc"])
		return plaintext, nil
	}
	return nil, fmt.Errorf("%w: no secret of a recipient", errMissing)
}

func (p params) verify(envelope []byte, meta *metadata) ([]byte, error) {
	parse := jose.ParseSignedCompact
	if isJSON(envelope) {
		parse = jose.ParseSignedJSON
	}
	signed, err := parse(string(envelope), signatures)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Header
	doc, err := p.document(header.KeyID)
	if err != nil {
		return nil, err
	}
	key, err := doc.public(doc.Authentication, header.KeyID)
	if err != nil {
		return nil, err
	}
	meta.NonRepudiation, meta.SignFrom, meta.SignAlg = true, header.KeyID, header.Algorithm
	return signed.Verify(key)
}

func operate(r request) (any, error) {
	switch r.Op {
	case "hello":
		return hello()
	case "pack":
		return pack(r.Params)
	case "unpack":
		return unpack(r.Params)
	case "bench":
		return bench(r.Params)
	}
	return nil, fmt.Errorf("%w: operation %s", errLacks, r.Op)
}

// answer is an answer's line.
func answer(line []byte) ([]byte, error) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, err
	}
	result, err := operate(r)
	if err == nil {
		return json.Marshal(map[string]any{"id": r.ID, "result": result})
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", r.Op, err)
	kind := "go-jose"
	for _, class := range []error{errLacks, errMissing} {
		if errors.Is(err, class) {
			kind = class.Error()
		}
	}
	return json.Marshal(map[string]any{"id": r.ID, "error": map[string]string{
		"type": kind, "message": strings.TrimPrefix(err.Error(), kind+": "),
	}})
}

func run() error {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil
		}
		reply, err := answer(line)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(append(reply, '\n')); err != nil {
			return err
		}
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
