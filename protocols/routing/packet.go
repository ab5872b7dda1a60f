package routing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// packetOf returns the packet in an attachment: the decoded content, or the JSON value as it was
// received, without insignificant white space. The packet does not share memory with a.
func packetOf(a *message.Attachment) (store.Packet, error) {
	content, err := a.Data.Bytes()
	if err != nil {
		return store.Packet{}, err
	}
	if len(a.Data.JSON) > 0 {
		value := jsontext.Value(slices.Clone(content)) // since other goroutines may read the message
		if err := value.Compact(); err != nil {
			return store.Packet{}, err
		}
		content = value
	}
	mediaType, err := shapeOf(content)
	return store.Packet{MediaType: mediaType, Data: content}, err
}

// shapeOf returns the media type of an envelope by its shape: a JWE or JWS, in JSON or in the
// compact serialization. It looks at the names of the outermost members, and at nothing inside.
func shapeOf(data []byte) (string, error) {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] != '{' {
		switch parts := bytes.Count(data, []byte{'.'}) + 1; {
		case !isCompact(data):
		case parts == 5:
			return envelope.MediaTypeEncrypted, nil
		case parts == 3:
			return envelope.MediaTypeSigned, nil
		}
		return "", errShape
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	if _, err := dec.ReadToken(); err != nil {
		return "", fmt.Errorf("%w: %w", errShape, err)
	}
	has := make(map[string]bool)
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return "", fmt.Errorf("%w: %w", errShape, err)
		}
		switch n := name.String(); n {
		case "ciphertext", "protected", "payload", "signature", "signatures":
			has[n] = true
		}
		if err := dec.SkipValue(); err != nil {
			return "", fmt.Errorf("%w: %w", errShape, err)
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return "", fmt.Errorf("%w: %w", errShape, err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("%w: something follows the envelope", errShape)
	}
	switch {
	case has["ciphertext"] && has["protected"]:
		return envelope.MediaTypeEncrypted, nil
	case has["payload"] && (has["signatures"] || has["signature"]):
		return envelope.MediaTypeSigned, nil
	}
	return "", errShape
}

// isCompact reports whether data has only characters of base64url, and dots.
func isCompact(data []byte) bool {
	for _, c := range data {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '=':
		default:
			return false
		}
	}
	return true
}
