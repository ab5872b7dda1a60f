package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxLayers bounds how deep signed messages nest in what is inspected.
const maxLayers = 8

// layer is one layer of an envelope as it can be read without keys.
type layer struct {
	Kind          string           `json:"kind"` // "encrypted", "signed" or "plaintext"
	Serialization string           `json:"serialization,omitempty"`
	Bytes         int              `json:"bytes"`
	Protected     jsontext.Value   `json:"protected,omitempty"`
	Unprotected   jsontext.Value   `json:"unprotected,omitempty"`
	Recipients    []jsontext.Value `json:"recipients,omitempty"` // header of each
	Signatures    []signatureLayer `json:"signatures,omitempty"`
	ContentBytes  int              `json:"content_bytes"` // ciphertext, payload or body
	Headers       jsontext.Value   `json:"headers,omitempty"`
	Notes         []string         `json:"notes,omitempty"` // where it departs from what DIDComm v2.1 says to send
}

type signatureLayer struct {
	Protected jsontext.Value `json:"protected,omitempty"`
	Header    jsontext.Value `json:"header,omitempty"`
}

// joseHeader holds the header parameters that notes and summaries need.
type joseHeader struct {
	Typ  string         `json:"typ"`
	Alg  string         `json:"alg"`
	Enc  string         `json:"enc"`
	Kid  string         `json:"kid"`
	SKid string         `json:"skid"`
	APU  string         `json:"apu"`
	APV  string         `json:"apv"`
	EPK  jsontext.Value `json:"epk"`
}

// rawEnvelope is a JWE or JWS in JSON serialization, general or flattened.
type rawEnvelope struct {
	Protected   string         `json:"protected"`
	Unprotected jsontext.Value `json:"unprotected"`
	Header      jsontext.Value `json:"header"`

	Recipients []struct {
		Header       jsontext.Value `json:"header"`
		EncryptedKey string         `json:"encrypted_key"`
	} `json:"recipients"`
	EncryptedKey string  `json:"encrypted_key"`
	IV           string  `json:"iv"`
	Ciphertext   *string `json:"ciphertext"`
	Tag          string  `json:"tag"`

	Payload    *string `json:"payload"`
	Signatures []struct {
		Protected string         `json:"protected"`
		Header    jsontext.Value `json:"header"`
	} `json:"signatures"`
	Signature string `json:"signature"`
}

// layers reads data from the outside in, as far as no key is needed.
func layers(data []byte) ([]layer, error) {
	var all []layer
	for range maxLayers {
		l, content, err := readLayer(bytes.TrimSpace(data))
		if err != nil {
			return nil, err
		}
		all = append(all, l)
		if content == nil {
			return all, nil
		}
		data = content
	}
	return nil, fmt.Errorf("more than %d layers", maxLayers)
}

// readLayer reads the outermost layer; content is what it holds in the clear.
func readLayer(data []byte) (l layer, content []byte, err error) {
	if len(data) == 0 {
		return l, nil, errors.New("an empty layer")
	}
	var e rawEnvelope
	serialization := "general JSON"
	if data[0] != '{' {
		if e, err = compact(string(data)); err != nil {
			return l, nil, err
		}
		serialization = "compact"
	} else if err := json.Unmarshal(data, &e); err != nil {
		return l, nil, fmt.Errorf("not an envelope or message: %w", jsonError(err))
	} else if e.Recipients == nil && e.Signatures == nil {
		serialization = "flattened JSON"
	}
	l.Bytes = len(data)
	switch {
	case e.Ciphertext != nil:
		l.Serialization = serialization
		return l, nil, l.encrypted(e)
	case e.Payload != nil:
		l.Serialization = serialization
		content, err = l.signed(e)
		return l, content, err
	}
	return l, nil, l.plaintext(data)
}

// compact takes the compact serialization of a JWE (five parts) or a JWS
// (three) apart.
func compact(s string) (rawEnvelope, error) {
	parts := strings.Split(s, ".")
	switch len(parts) {
	case 3:
		return rawEnvelope{Protected: parts[0], Payload: &parts[1], Signature: parts[2]}, nil
	case 5:
		return rawEnvelope{Protected: parts[0], EncryptedKey: parts[1], IV: parts[2], Ciphertext: &parts[3], Tag: parts[4]}, nil
	}
	return rawEnvelope{}, errors.New("neither JSON nor a compact JWE or JWS")
}

func (l *layer) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(l.Notes, n) {
		l.Notes = append(l.Notes, n)
	}
}

// decode decodes base64url; padding is noted.
func (l *layer) decode(name, s string) ([]byte, error) {
	raw := strings.TrimRight(s, "=")
	if raw != s {
		l.note("base64url of %s is padded", name)
	}
	data, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64url", name)
	}
	return data, nil
}

// header decodes a protected header.
func (l *layer) header(s string) (jsontext.Value, joseHeader, error) {
	var h joseHeader
	if s == "" {
		return nil, h, nil
	}
	data, err := l.decode("protected", s)
	if err != nil {
		return nil, h, err
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, h, fmt.Errorf("protected header: %w", jsonError(err))
	}
	return data, h, nil
}

func (l *layer) encrypted(e rawEnvelope) error {
	l.Kind = "encrypted"
	var h joseHeader
	var err error
	if l.Protected, h, err = l.header(e.Protected); err != nil {
		return err
	}
	l.Unprotected = e.Unprotected
	for name, part := range map[string]string{"iv": e.IV, "tag": e.Tag, "encrypted_key": e.EncryptedKey} {
		if _, err := l.decode(name, part); err != nil {
			return err
		}
	}
	ciphertext, err := l.decode("ciphertext", *e.Ciphertext)
	if err != nil {
		return err
	}
	l.ContentBytes = len(ciphertext)
	if l.Serialization != "general JSON" {
		l.note("%s serialization; DIDComm sends general JSON", l.Serialization)
		if e.Header != nil {
			l.Recipients = []jsontext.Value{e.Header}
		} else if h.Kid != "" {
			l.Recipients = []jsontext.Value{jsontext.Value(fmt.Sprintf(`{"kid":%q}`, h.Kid))}
		}
	}
	for _, r := range e.Recipients {
		if _, err := l.decode("encrypted_key", r.EncryptedKey); err != nil {
			return err
		}
		l.Recipients = append(l.Recipients, r.Header)
	}
	l.checkType(h.Typ, transport.MediaTypeEncrypted)
	return l.checkKeys(h)
}

// checkKeys notes what is unusual about who can open the envelope and how.
func (l *layer) checkKeys(h joseHeader) error {
	var kids, dids []string
	for _, raw := range l.Recipients {
		var r joseHeader
		if raw != nil {
			if err := json.Unmarshal(raw, &r); err != nil {
				return fmt.Errorf("recipient header: %w", jsonError(err))
			}
		}
		kids = append(kids, r.Kid)
		if d := did.Base(r.Kid); !slices.Contains(dids, d) {
			dids = append(dids, d)
		}
		if r.EPK != nil {
			l.note("epk stands in a recipient's header, not in the protected one")
		}
		if r.Alg != "" && h.Alg == "" {
			l.note("alg stands in a recipient's header, where anybody can change it")
		}
		if u, err := did.ParseURL(r.Kid); err != nil || u.Fragment == "" {
			l.note("kid %q is no DID URL of a key", r.Kid)
		}
	}
	if len(dids) > 1 {
		l.note("the recipients are keys of several DIDs; v2.1 encrypts for each DID on its own")
	}
	if !slices.IsSorted(kids) {
		l.note("the recipients are not sorted by kid")
	}
	if h.EPK != nil && h.EPK.Kind() == '"' {
		l.note("epk is a string, not an object")
	}
	if h.EPK == nil && len(l.Notes) == 0 {
		l.note("epk is missing")
	}
	slices.Sort(kids)
	digest := sha256.Sum256([]byte(strings.Join(kids, ".")))
	switch want := base64.RawURLEncoding.EncodeToString(digest[:]); {
	case h.APV == "":
		l.note("apv is missing")
	case strings.TrimRight(h.APV, "=") != want:
		l.note("apv is not the hash of the recipients' kids")
	}
	if strings.HasPrefix(h.Alg, "ECDH-1PU") {
		apu, err := l.decode("apu", h.APU)
		switch {
		case err != nil:
			return err
		case len(apu) == 0:
			l.note("apu is missing")
		case h.SKid == "":
			l.note("skid is missing; the sender stands in apu only: %s", apu)
		case string(apu) != h.SKid:
			l.note("skid and apu name different senders; nobody may open this")
		}
	}
	return nil
}

func (l *layer) signed(e rawEnvelope) (payload []byte, err error) {
	l.Kind = "signed"
	if payload, err = l.decode("payload", *e.Payload); err != nil {
		return nil, err
	}
	l.ContentBytes = len(payload)
	if e.Signatures == nil {
		e.Signatures = append(e.Signatures, struct {
			Protected string         `json:"protected"`
			Header    jsontext.Value `json:"header"`
		}{e.Protected, e.Header})
		l.note("%s serialization; DIDComm sends general JSON", l.Serialization)
	}
	for _, s := range e.Signatures {
		protected, h, err := l.header(s.Protected)
		if err != nil {
			return nil, err
		}
		var u joseHeader
		if s.Header != nil {
			if err := json.Unmarshal(s.Header, &u); err != nil {
				return nil, fmt.Errorf("signature header: %w", jsonError(err))
			}
		}
		l.checkType(h.Typ, transport.MediaTypeSigned)
		switch {
		case h.Kid == "" && u.Kid == "":
			l.note("no kid says whose signature it is")
		case h.Kid != "" && u.Kid != "" && h.Kid != u.Kid:
			l.note("the protected and the unprotected kid differ; nobody may accept this")
		}
		l.Signatures = append(l.Signatures, signatureLayer{protected, s.Header})
	}
	return payload, nil
}

func (l *layer) checkType(typ, want string) {
	switch typ {
	case want:
	case "":
		l.note("typ is missing; it should be %s", want)
	default:
		l.note("typ is %q; it should be %s", typ, want)
	}
}

func (l *layer) plaintext(data []byte) error {
	m, deviations, err := message.Parse(data)
	if err != nil {
		return err
	}
	l.Kind = "plaintext"
	l.ContentBytes = len(m.Body)
	headers := map[string]jsontext.Value{}
	if err := json.Unmarshal(data, &headers); err != nil {
		return jsonError(err)
	}
	delete(headers, "body")
	delete(headers, "attachments")
	if l.Headers, err = json.Marshal(headers, json.Deterministic(true)); err != nil {
		return err
	}
	for i, a := range m.Attachments {
		l.note("attachment %d: id %q, media type %q", i+1, a.ID, a.MediaType)
	}
	for _, d := range deviations {
		l.note("%s: %s", d.Code, d.Detail)
	}
	return nil
}

// jsonError is a JSON error without the words that only a programmer needs.
func jsonError(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Errorf("bad JSON at byte %d: %w", syntax.ByteOffset, syntax.Err)
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return fmt.Errorf("unexpected JSON %s at %q", semantic.JSONKind, semantic.JSONPointer)
	}
	return err
}
