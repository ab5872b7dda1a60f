package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// plaintext examines a message. The message ends the chain of layers; an envelope inside a
// forward begins another chain.
func (x *exam) plaintext(data []byte) {
	data = bytes.TrimSpace(data)
	x.report.Layers = append(x.report.Layers, Layer{Kind: Plaintext, Bytes: len(data)})
	chain, signers := x.chain, x.signers
	x.chain, x.signers = nil, nil
	m, members := x.parse(data)
	if m == nil {
		return
	}
	showPlaintext(&x.report.Layers[len(x.report.Layers)-1], m, members)
	x.headers(m, members, len(chain) == 0)
	x.attachments(m)
	if message.Is(m, "https://didcomm.org/routing/2.0/forward") {
		x.forward(m)
	}
	if len(signers) > 0 {
		x.signedBy(m, signers, len(chain) > 1)
	}
}

// parse parses the message, and adds the deviations and errors of message.Parse as findings.
// If id or type is missing, parse puts a placeholder there to examine the other headers.
func (x *exam) parse(data []byte) (*message.Message, map[string]jsontext.Value) {
	if len(data) > envelope.DefaultMaxBytes {
		x.add("too-large", fmt.Sprintf("%d bytes", len(data)), "")
		return nil, nil
	}
	m, deviations, err := message.Parse(data)
	if errors.Is(err, message.ErrTooDeep) {
		x.add("too-deep", "objects and arrays nest too deep", "")
		return nil, nil
	}
	many := manyMembers(data)
	// err may be about another fault, which comes first.
	if err != nil && !many && errors.Is(jose.Check(data, envelope.DefaultMaxDepth), envelope.ErrDuplicateName) {
		x.add("duplicate-member", err.Error(), "")
		return nil, nil
	}
	var members map[string]jsontext.Value
	if !many && jsonv2.Unmarshal(data, &members) == nil && err != nil {
		m, deviations, err = x.lend(members, err)
	}
	if err != nil {
		x.add("message-malformed", err.Error(), "")
		return nil, nil
	}
	for _, d := range deviations {
		x.add(string(d.Code), d.Detail, right(m, d))
	}
	return m, members
}

// manyMembers reports whether data has more members than message.Parse accepts.
func manyMembers(data []byte) bool {
	n := 0
	for range jose.Names(data) {
		if n++; n > 1100 {
			return true
		}
	}
	return false
}

// lend adds a finding for a missing id or type, and parses the message with placeholders. If
// neither is missing, it returns err.
func (x *exam) lend(members map[string]jsontext.Value, err error) (*message.Message, []message.Deviation, error) {
	var missing []string
	for _, name := range []string{"id", "type"} {
		if v := members[name]; v == nil || v.Kind() == 'n' || string(v) == `""` {
			x.add(name+"-missing", name+" is missing", "")
			missing = append(missing, name)
			members[name] = jsontext.Value(`"lent"`)
		}
	}
	if missing == nil {
		return nil, nil, err
	}
	text, err := jsonv2.Marshal(members)
	if err != nil {
		return nil, nil, err
	}
	m, deviations, err := message.Parse(text)
	for _, name := range missing {
		delete(members, name)
		if m != nil && name == "type" {
			m.Type = ""
		}
	}
	return m, deviations, err
}

// right returns the value that a header should have in place of the deviation d, or "".
func right(m *message.Message, d message.Deviation) string {
	switch {
	case d.Code == message.DeviationListString && d.Detail == "to":
		v, err := jsonv2.Marshal(m.To)
		if err == nil {
			return string(v)
		}
	case strings.HasPrefix(string(d.Code), "time-") && d.Detail == "created_time":
		return strconv.FormatInt(m.CreatedTime.Unix(), 10)
	case strings.HasPrefix(string(d.Code), "time-") && d.Detail == "expires_time":
		return strconv.FormatInt(m.ExpiresTime.Unix(), 10)
	}
	return ""
}

func (x *exam) headers(m *message.Message, members map[string]jsontext.Value, bare bool) {
	switch {
	case m.Typ == "" && bare:
		x.add("message-typ-missing", "typ is missing", message.MediaType)
	case m.Typ != "" && m.Typ != message.MediaType && "application/"+m.Typ != message.MediaType:
		x.add("message-typ", fmt.Sprintf("typ is %.200q", m.Typ), message.MediaType)
	}
	if _, err := message.ParseType(m.Type); err != nil && m.Type != "" {
		x.add("type-uri", fmt.Sprintf("type is %.200q", m.Type), "")
	}
	if m.From != "" && !isParty(m.From) {
		x.add("from-not-did", fmt.Sprintf("from is %.200q", m.From), withoutFragment(m.From))
	}
	for _, to := range m.To {
		if !isParty(to) {
			x.add("to-not-did", fmt.Sprintf("to has %.200q", to), withoutFragment(to))
		}
	}
	if _, ok := members["body"]; !ok {
		x.add("body-missing", "body is missing", "{}")
	}
	switch m.ReturnRoute {
	case "", "none", "all", "thread":
	default:
		x.add("return-route", fmt.Sprintf("return_route is %.100q", m.ReturnRoute), "")
	}
}

// isParty reports whether id is a DID, or a DID URL without fragment.
func isParty(id string) bool {
	u, err := did.ParseURL(id)
	return err == nil && u.Fragment == "" && !strings.Contains(id, "#")
}

// withoutFragment returns id without its fragment, or "" if id is not a DID URL with a
// fragment.
func withoutFragment(id string) string {
	if before, _, ok := strings.Cut(id, "#"); ok && isParty(before) {
		return before
	}
	return ""
}

func (x *exam) attachments(m *message.Message) {
	for i, a := range m.Attachments {
		if a.ID == "" {
			x.add("attachment-no-id", fmt.Sprintf("attachment %d has no id", i+1), message.NewID())
			return
		}
	}
}

func (x *exam) forward(m *message.Message) {
	var body struct {
		Next jsontext.Value `json:"next"`
	}
	var next string
	if m.DecodeBody(&body) != nil || jsonv2.Unmarshal(body.Next, &next) != nil || next == "" {
		x.add("forward-next", "the body has no next, or it is not a string", "")
	} else if _, err := did.ParseURL(next); err != nil {
		x.add("forward-next", fmt.Sprintf("next is %.200q", next), "")
	}
	switch n := len(m.Attachments); n {
	case 0:
		x.add("forward-no-attachment", "a forward without attachment", "")
	case 1:
	default:
		x.add("forward-attachments", fmt.Sprintf("%d attachments", n), "")
	}
	for i, a := range m.Attachments {
		if a.Data.JSON == nil {
			x.add("forward-not-json", fmt.Sprintf("attachment %d has no data.json", i+1), "")
		}
	}
	if m.PleaseAck != nil {
		x.add("forward-please-ack", "please_ack in a forward", "")
	}
}

// signedBy checks the headers that a signature demands of the message in it.
func (x *exam) signedBy(m *message.Message, signers []string, encrypted bool) {
	switch {
	case len(m.To) > 0:
	case encrypted:
		x.add("signed-encrypted-no-to", "signed and encrypted, but no to", "")
	default:
		x.add("signed-no-to", "signed, but no to", "")
	}
	for _, kid := range signers {
		if m.From == "" {
			x.add("signer-mismatch", fmt.Sprintf("from is missing, signed by %.200s", kid), did.Base(kid))
		} else if did.Base(m.From) != did.Base(kid) && !didpeer.SameParty(did.Base(m.From), did.Base(kid)) {
			x.add("signer-mismatch", fmt.Sprintf("from is %.200s, signed by %.200s", m.From, kid), did.Base(kid))
		}
	}
}

func showPlaintext(l *Layer, m *message.Message, members map[string]jsontext.Value) {
	l.ContentBytes = len(members["body"])
	headers := make(map[string]jsontext.Value, len(members))
	for name, v := range members {
		if name != "body" && name != "attachments" {
			headers[name] = v
		}
	}
	if text, err := jsonv2.Marshal(headers, jsonv2.Deterministic(true)); err == nil {
		l.Headers = json.RawMessage(text)
	}
	for _, a := range m.Attachments {
		content, err := a.Data.Bytes()
		if err != nil {
			content = nil
		}
		l.Attachments = append(l.Attachments, Attachment{ID: a.ID, MediaType: a.MediaType, Bytes: len(content)})
	}
}
