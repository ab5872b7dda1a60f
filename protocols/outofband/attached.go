package outofband

import (
	"errors"
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Attached is a message in an attachment of an invitation.
type Attached struct {
	// Message is the message, from the inviter by its own account. Nothing in it is proven.
	Message *message.Message
	// V1 says that the message has the shape of DIDComm v1: @type and @id, and the members of
	// the body beside them. Body then has these members, without the decorator ~thread.
	V1 bool
}

// Attached returns the messages in the attachments, the preferred one first. It leaves out
// attachments that are no messages, that are links, and that are from another DID than the
// invitation.
func (i *Invitation) Attached() []Attached {
	var all []Attached
	for _, a := range i.Attachments {
		data, err := a.Data.Bytes()
		if err != nil {
			continue
		}
		if m, err := i.attached(data); err == nil {
			all = append(all, m)
		}
	}
	return all
}

func (i *Invitation) attached(data []byte) (Attached, error) {
	v1 := isV1(data)
	limits := message.Limits{Bytes: MaxBytes, Depth: maxDepth, Attachments: MaxAttachments, List: maxList, Extra: maxList}
	if v1 {
		var err error
		if data, err = fromV1(data); err != nil {
			return Attached{}, err
		}
	}
	m, _, err := limits.Parse(data)
	if err != nil {
		return Attached{}, err
	}
	if m.From != "" && did.Canonical(m.From) != did.Canonical(i.From) {
		return Attached{}, fmt.Errorf("%w: attached message of another DID", ErrInvalid)
	}
	m.From = i.From
	return Attached{m, v1}, nil
}

// fromV1 writes a message of DIDComm v1 in the shape of v2.
func fromV1(data []byte) ([]byte, error) {
	var v1 struct {
		ID     string `json:"@id"`
		Type   string `json:"@type"`
		Thread struct {
			Thread string `json:"thid"`
			Parent string `json:"pthid"`
		} `json:"~thread"`
	}
	var body map[string]jsontext.Value
	if err := errors.Join(json.Unmarshal(data, &v1), json.Unmarshal(data, &body)); err != nil {
		return nil, err
	}
	for _, name := range []string{"@id", "@type", "~thread"} {
		delete(body, name)
	}
	return json.Marshal(struct {
		ID     string                    `json:"id"`
		Type   string                    `json:"type"`
		Thread string                    `json:"thid,omitempty"`
		Parent string                    `json:"pthid,omitempty"`
		Body   map[string]jsontext.Value `json:"body"`
	}{v1.ID, currentType(v1.Type), v1.Thread.Thread, v1.Thread.Parent, body}, json.Deterministic(true))
}

// currentType returns a message type with the document URI of today: the DID that stood for
// didcomm.org in early messages is replaced.
func currentType(typ string) string {
	if rest, ok := strings.CutPrefix(typ, "did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/"); ok {
		return "https://didcomm.org/" + rest
	}
	return typ
}

// Answer makes m a message to the inviter that answers the invitation: it sets to and pthid.
// If m answers an attached message, which is not nil, Answer also sets thid to the thread of
// that message.
func (i *Invitation) Answer(m *message.Message, to *message.Message) {
	m.To, m.ParentThreadID = []string{i.From}, i.ID
	if to != nil {
		m.ThreadID = to.Thread()
	}
}
