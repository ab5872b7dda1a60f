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

// Layer is a layer of a message, for display. A field is empty if the layer does not have
// the member or if the member cannot be read; in the second case there is a finding.
type Layer struct {
	Kind string `json:"kind"` // Encrypted, Signed or Plaintext
	// Serialization is that of a JWE or JWS: "general", "flattened" or "compact".
	Serialization string `json:"serialization,omitempty"`
	Bytes         int    `json:"bytes"`         // of the whole layer
	ContentBytes  int    `json:"content_bytes"` // of ciphertext, payload or body

	Protected   json.RawMessage `json:"protected,omitempty"`   // of a JWE, decoded
	Unprotected json.RawMessage `json:"unprotected,omitempty"` // of a JWE
	// Sender is the key id of the sender in an authcrypt: skid, or the decoded apu.
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

// anatomy has the members of a JWE or JWS for display, without checks. A member of a wrong
// type is left out of the display.
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

// elements splits list, which is within the limits.
func elements(list jsontext.Value) []element {
	var all []element
	if list == nil || jsonv2.Unmarshal(list, &all) != nil {
		return nil
	}
	return all
}

// dissect splits a JWE or JWS that is within the limits.
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

// decoded decodes a JSON string of base64url, with or without padding.
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

// object returns v if it is a valid JSON object, else nil.
func object(v []byte) json.RawMessage {
	if value := jsontext.Value(v); len(v) > 0 && value.Kind() == '{' && value.IsValid() {
		return json.RawMessage(v)
	}
	return nil
}
