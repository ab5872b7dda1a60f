package message

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Attachment is content of any kind that belongs to a message (section Attachments). A field
// with the zero value stands for an absent member.
type Attachment struct {
	ID          string
	Description string
	Filename    string
	MediaType   string // "media_type"
	Format      string
	LastModTime time.Time // "lastmod_time", written as whole seconds since 1970
	// LastModText is lastmod_time as text, which is written instead of LastModTime. The
	// specification leaves the form open. Parse sets LastModTime too if the text is a time
	// by RFC 3339.
	LastModText string
	ByteCount   int64 // "byte_count"
	Data        AttachmentData
	Extra       map[string]json.RawMessage // all other members, by name
}

// AttachmentData is the content of an attachment. The content is inline (JSON or Base64) or
// at a URL (Links, which need Hash).
type AttachmentData struct {
	JSON   json.RawMessage // "json"; a JSON null counts as absent
	Base64 string          // "base64", as received
	Links  []string
	Hash   string          // multihash of the content; see VerifyHash
	JWS    json.RawMessage // "jws" over the content, detached (RFC 7515, appendix F)
	Extra  map[string]json.RawMessage
}

// JSONAttachment makes an attachment with a JSON value inline, such as an envelope in a
// forward message.
func JSONAttachment(id, mediaType string, value json.RawMessage) Attachment {
	return Attachment{ID: id, MediaType: mediaType, Data: AttachmentData{JSON: value}}
}

// Base64Attachment makes an attachment with the content inline, in base64url without padding.
func Base64Attachment(id, mediaType string, content []byte) Attachment {
	return Attachment{ID: id, MediaType: mediaType, Data: AttachmentData{Base64: base64.RawURLEncoding.EncodeToString(content)}}
}

// Bytes returns the inline content. For JSON that is the text of the value as it is in the
// message. Base64 is decoded: the URL and the standard alphabet are accepted, with and without
// padding. The error matches ErrInvalid if there is no inline content or if Base64 cannot be
// decoded. Bytes does not fetch links.
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
