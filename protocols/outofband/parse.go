package outofband

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Parse reads an invitation: a URL with the invitation in it, the base64 of that URL alone, or
// JSON. White space around the text is ignored. Parse connects to nothing, and does not look
// at the clock: see [Invitation.Expired].
//
// The errors are ErrShort, ErrVersion, ErrProfile, and ErrInvalid for everything else that is
// no invitation, or exceeds a limit of this package.
func Parse(text string) (*Invitation, error) {
	data, err := Payload(text)
	if err != nil {
		return nil, err
	}
	return parseJSON(data)
}

// Payload returns the JSON of the invitation in a text for [Parse], as it is there. The errors
// are ErrShort and ErrInvalid. The JSON may still not be an invitation.
func Payload(text string) ([]byte, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrInvalid, MaxBytes)
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, fmt.Errorf("%w: empty", ErrInvalid)
	case text[0] == '{':
		return []byte(text), nil
	case strings.Contains(text, ":"):
		return fromURL(text)
	}
	return decode(text)
}

// fromURL returns the JSON in the query of a URL.
func fromURL(text string) ([]byte, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Scheme == "did" {
		return nil, fmt.Errorf("%w: neither a URL nor JSON", ErrInvalid)
	}
	var found []string
	other := ""
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "_oob":
			found = append(found, value)
		case "oob", "c_i", "d_m": // of version 1
			other = value
		}
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("%w: %d parameters _oob", ErrInvalid, len(found))
	case len(found) == 0 && other == "":
		return nil, fmt.Errorf("%w: %w", ErrInvalid, ErrShort)
	case len(found) == 0:
		found = append(found, other)
	}
	// PathUnescape keeps "+", which belongs to the standard alphabet.
	value, err := url.PathUnescape(found[0])
	if err != nil {
		return nil, fmt.Errorf("%w: escapes in the URL", ErrInvalid)
	}
	return decode(value)
}

// decode decodes base64, in the URL or the standard alphabet, padded or not.
func decode(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(strings.TrimRight(s, "="))
	data, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", ErrInvalid)
	}
	return data, nil
}

// parseJSON reads an invitation from its JSON.
func parseJSON(data []byte) (*Invitation, error) {
	m, _, err := message.Limits{
		Bytes: MaxBytes, Depth: maxDepth, Attachments: MaxAttachments, List: maxList, Extra: maxList,
	}.Parse(data)
	if err != nil {
		if isV1(data) {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, ErrVersion)
		}
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !message.Is(m, TypeInvitation) {
		return nil, fmt.Errorf("%w: a message of type %.100q", ErrInvalid, m.Type)
	}
	if _, err := did.Parse(m.From); err != nil {
		return nil, fmt.Errorf("%w: from: %w", ErrInvalid, err)
	}
	var b body
	if err := m.DecodeBody(&b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(b.Accept) > maxList {
		return nil, fmt.Errorf("%w: %d profiles", ErrInvalid, len(b.Accept))
	}
	i := &Invitation{
		ID: m.ID, From: m.From, GoalCode: b.GoalCode, Goal: b.Goal, Accept: b.Accept,
		Attachments: m.Attachments, Expires: m.ExpiresTime,
	}
	if !i.acceptsV2() {
		return nil, fmt.Errorf("%w: %w: it accepts %.200q", ErrInvalid, ErrProfile, strings.Join(i.Accept, ", "))
	}
	return i, nil
}

// isV1 reports whether JSON is a message of DIDComm v1.
func isV1(data []byte) bool {
	var v1 struct {
		Type jsontext.Value `json:"@type"`
	}
	return json.Unmarshal(data, &v1) == nil && v1.Type.Kind() == '"'
}
