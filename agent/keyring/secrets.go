package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/did"
)

// maxSecrets is the largest size of a secrets file, in bytes.
const maxSecrets = 16 << 20

// secret is a private JWK (RFC 7517; RFC 7518, section 6.2; RFC 8037; RFC 8812).
// The members alg, use and key_ops are ignored, since crv says as much.
type secret struct {
	KID string `json:"kid"`
	Kty string `json:"kty"`
	Crv Curve  `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y,omitzero"`
	D   string `json:"d"`
}

// ParseSecrets reads a secrets file: a JSON array of private JWKs, or a JWK Set. The kid of
// each JWK is the DID URL of the key (DIDComm Messaging v2.1, Appendix A). A JWK must have
// the public part of the key, too. A file of more than 16 MiB is refused.
//
// The error matches ErrInvalid or ErrDuplicate. It names the key by its index, from 0, and its
// kid, and does not quote the key.
func ParseSecrets(data []byte) (*Keyring, error) {
	if len(data) > maxSecrets {
		return nil, fmt.Errorf("%w: secrets of %d bytes, the limit is %d", ErrInvalid, len(data), maxSecrets)
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	var err error
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("[")) {
		err = json.Unmarshal(data, &set.Keys)
	} else if err = json.Unmarshal(data, &set); err == nil && set.Keys == nil {
		return nil, fmt.Errorf("%w: secrets are neither an array of JWKs nor a JWK Set", ErrInvalid)
	}
	if err != nil {
		return nil, secretsError("secrets", err)
	}
	ring := New()
	for i, raw := range set.Keys {
		var s secret
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, secretsError(fmt.Sprintf("secret %d", i), err)
		}
		key, err := s.key()
		if err == nil {
			err = ring.Add(s.KID, key)
		}
		if err != nil {
			return nil, fmt.Errorf("secret %d (%q): %w", i, clip(s.KID), err)
		}
	}
	return ring, nil
}

// secretsError makes an error of a JSON error, with the place and without the text, which
// may quote a private key.
func secretsError(what string, err error) error {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("%w: %s: duplicate member name", ErrInvalid, what)
	case errors.As(err, &syntactic):
		return fmt.Errorf("%w: %s: not JSON at byte %d", ErrInvalid, what, syntactic.ByteOffset)
	case errors.As(err, &semantic):
		return fmt.Errorf("%w: %s: a value of the wrong type at byte %d", ErrInvalid, what, semantic.ByteOffset)
	default:
		return fmt.Errorf("%w: %s: not JSON", ErrInvalid, what)
	}
}

func (s *secret) key() (*Key, error) {
	if s.Crv == "" {
		return nil, fmt.Errorf("%w: kty %q has no crv that is known here", ErrInvalid, clip(s.Kty))
	}
	if s.D == "" {
		return nil, fmt.Errorf("%w: the key has no private part (d)", ErrInvalid)
	}
	pub, err := json.Marshal(secret{Kty: s.Kty, Crv: s.Crv, X: s.X, Y: s.Y}, json.OmitZeroStructFields(true))
	if err != nil {
		return nil, fmt.Errorf("%w: public part", ErrInvalid)
	}
	public, err := did.ParseJWK(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: public part: %w", ErrInvalid, err)
	}
	d, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s.D, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: d is not base64url", ErrInvalid)
	}
	key, err := ParseKey(s.Crv, d)
	if err != nil {
		return nil, err
	}
	if !equal(key.public, public) {
		return nil, fmt.Errorf("%w: the public part belongs to another private key", ErrInvalid)
	}
	return key, nil
}

// MarshalSecrets returns all keys as the JSON array that ParseSecrets reads, in the order in
// which they were added. The result has the private keys in clear.
func (k *Keyring) MarshalSecrets() ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	kids := k.ordered()
	secrets := make([]secret, len(kids))
	for i, kid := range kids {
		key := k.keys[kid]
		pub, err := did.FormatJWK(key.public)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", clip(kid), err)
		}
		if err := json.Unmarshal(pub, &secrets[i]); err != nil {
			return nil, fmt.Errorf("key %s: %w", clip(kid), err)
		}
		secrets[i].KID = kid
		secrets[i].D = base64.RawURLEncoding.EncodeToString(key.private())
	}
	return json.Marshal(secrets, jsontext.WithIndent("  "))
}
