package message

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Attachment supplements a message with content of any kind (section
// Attachments). The zero value of a field is an absent member.
type Attachment struct {
	ID          string
	Description string
	Filename    string
	MediaType   string // "media_type"
	Format      string
	LastModTime time.Time // "lastmod_time", written as whole seconds since 1970
	ByteCount   int64     // "byte_count"
	Data        AttachmentData
	Extra       map[string]json.RawMessage // all other members, kept
}

// AttachmentData gives access to an attachment's content, inline (JSON, Base64)
// or by reference (Links, which require Hash).
type AttachmentData struct {
	JSON   json.RawMessage // "json"; a JSON null counts as absent
	Base64 string          // "base64", as received
	Links  []string
	Hash   string          // multihash of the content; see VerifyHash
	JWS    json.RawMessage // "jws" over the content, detached (RFC 7515, appendix F)
	Extra  map[string]json.RawMessage
}

// JSONAttachment holds a JSON value inline, such as an envelope in a forward.
func JSONAttachment(id, mediaType string, value json.RawMessage) Attachment {
	return Attachment{ID: id, MediaType: mediaType, Data: AttachmentData{JSON: value}}
}

// Base64Attachment holds content inline as unpadded base64url.
func Base64Attachment(id, mediaType string, content []byte) Attachment {
	return Attachment{ID: id, MediaType: mediaType, Data: AttachmentData{Base64: base64.RawURLEncoding.EncodeToString(content)}}
}

// Bytes is the inline content: of json its text as it stands in the message, of
// base64 what it encodes, in the URL or the standard alphabet, padded or not.
// The error matches ErrInvalid; content that is only linked is not fetched.
func (d AttachmentData) Bytes() ([]byte, error) {
	switch {
	case len(d.JSON) > 0:
		return d.JSON, nil
	case d.Base64 != "":
		return decodeBase64(d.Base64)
	case len(d.Links) > 0:
		return nil, fmt.Errorf("%w: attachment content is linked, not inline", ErrInvalid)
	default:
		return nil, fmt.Errorf("%w: attachment has no content", ErrInvalid)
	}
}

func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	enc := base64.RawURLEncoding
	if strings.ContainsAny(s, "+/") {
		enc = base64.RawStdEncoding
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: attachment content is not base64", ErrInvalid)
	}
	return b, nil
}
