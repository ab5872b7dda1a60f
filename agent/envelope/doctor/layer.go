package doctor

import (
	"bytes"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

// Kinds of a Layer.
const (
	Encrypted = "encrypted"
	Signed    = "signed"
	Plaintext = "plaintext"
)

// Layer is one layer of a message, for people to read. What is not there, or
// cannot be read, is left out; a finding says why.
type Layer struct {
	Kind string `json:"kind"` // Encrypted, Signed or Plaintext
	// Serialization of a JWE or JWS: "general", "flattened" or "compact".
	Serialization string `json:"serialization,omitempty"`
	Bytes         int    `json:"bytes"`         // of the whole layer
	ContentBytes  int    `json:"content_bytes"` // of ciphertext, payload or body

	Protected   json.RawMessage `json:"protected,omitempty"`   // of a JWE, decoded
	Unprotected json.RawMessage `json:"unprotected,omitempty"` // of a JWE
	// Sender is the key id that an authcrypt names: skid, else apu decoded.
	Sender      string          `json:"sender,omitempty"`
	Recipients  []Recipient     `json:"recipients,omitempty"`
	Signatures  []Signature     `json:"signatures,omitempty"`
	Headers     json.RawMessage `json:"headers,omitempty"` // of a plaintext: all but body and attachments
	Attachments []Attachment    `json:"attachments,omitempty"`
}

// Recipient is one recipient of an encrypted layer.
type Recipient struct {
	KID               string          `json:"kid,omitempty"`
	Header            json.RawMessage `json:"header,omitempty"` // unprotected
	EncryptedKeyBytes int             `json:"encrypted_key_bytes"`
}

// Signature is one signature of a signed layer, not verified.
type Signature struct {
	KID       string          `json:"kid,omitempty"` // protected, else unprotected
	Alg       string          `json:"alg,omitempty"`
	Protected json.RawMessage `json:"protected,omitempty"` // decoded
	Header    json.RawMessage `json:"header,omitempty"`    // unprotected
}

// Attachment is one attachment of a plaintext.
type Attachment struct {
	ID        string `json:"id,omitempty"`
	MediaType string `json:"media_type,omitempty"`
	Bytes     int    `json:"bytes"` // of its inline content
}

// anatomy is a JWE or JWS as it stands. It is read to be shown, not judged: what
// is of a wrong type shows as absent.
type anatomy struct {
	Protected    jsontext.Value `json:"protected"`
	Unprotected  jsontext.Value `json:"unprotected"`
	Header       jsontext.Value `json:"header"`
	EncryptedKey jsontext.Value `json:"encrypted_key"`
	Ciphertext   jsontext.Value `json:"ciphertext"`
	Recipients   jsontext.Value `json:"recipients"`
	Signatures   jsontext.Value `json:"signatures"`
}

// element is one of Recipients or Signatures.
type element struct {
	Protected    jsontext.Value `json:"protected"`
	Header       jsontext.Value `json:"header"`
	EncryptedKey jsontext.Value `json:"encrypted_key"`
}

// elements takes a list apart that is within the limits.
func elements(list jsontext.Value) []element {
	var all []element
	if list == nil || jsonv2.Unmarshal(list, &all) != nil {
		return nil
	}
	return all
}

// dissect takes a JWE or JWS apart that is within the limits.
func dissect(data []byte) (a anatomy, serialization string) {
	if data[0] != '{' {
		parts := bytes.Split(data, []byte{'.'})
		a.Protected = quote(parts[0])
		if len(parts) == 5 {
			a.EncryptedKey, a.Ciphertext = quote(parts[1]), quote(parts[3])
		}
		return a, "compact"
	}
	if jsonv2.Unmarshal(data, &a) != nil {
		return anatomy{}, ""
	}
	if a.Recipients == nil && a.Signatures == nil {
		return a, "flattened"
	}
	return a, "general"
}

func quote(text []byte) jsontext.Value {
	v, err := jsontext.AppendQuote(nil, text)
	if err != nil {
		return nil
	}
	return v
}

// decoded is what a JSON string holds in base64url, padded or not.
func decoded(v jsontext.Value) []byte {
	if v.Kind() != '"' {
		return nil
	}
	text, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil
	}
	b, err := jose.Base64.AppendDecode(nil, jose.TrimPadding(text))
	if err != nil {
		return nil
	}
	return b
}

// object is v if it is a sound JSON object, else nil.
func object(v []byte) json.RawMessage {
	if value := jsontext.Value(v); len(v) > 0 && value.Kind() == '{' && value.IsValid() {
		return json.RawMessage(v)
	}
	return nil
}
