package credolike

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

// connection is the relation to one peer: a pair of DIDs.
type connection struct {
	ours      *identity
	theirs    string  // "" when the peer has hung up
	fromPrior string  // of each message until one comes to ours
	ways      []*way  // that messages take, one of each kind of session
	client    *client // nil unless this agent is the mediator of the peer
}

// way is an open session with the keys of the message that came on it.
type way struct {
	session
	skid craft.AgreeKey // of the DID that the message was for, not of connection.ours
	to   craft.AgreeKey // that the message was from
}

// receive opens a message, handles it and answers it. back is nil for a message that came
// in on a connection of this agent.
func (a *Agent) receive(data []byte, back session) error {
	opened, err := craft.Open(data, a.key, func(skid string) (*ecdh.PublicKey, error) { return a.senderKey(a.ctx, skid) })
	if err != nil {
		return err
	}
	var m Message
	if err := json.Unmarshal(opened.Plaintext, &m); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if m.Type == "" || m.ID == "" {
		return fmt.Errorf("no message: %.100s", opened.Plaintext)
	}
	c, err := a.findConnection(m)
	if err != nil {
		return err
	}
	if c != nil {
		a.rotated(c, m)
	}
	if reason := invalid(m); reason != "" {
		if c != nil && m.Type != TypeReport {
			err = a.send(a.ctx, c, report(m, reason))
		}
		return errors.Join(errors.New(reason), err)
	}
	var way *way
	if back != nil {
		if c != nil && m.ReturnRoute == "all" && opened.SKID != "" {
			if way, err = a.keep(c, back, opened); err != nil {
				return err
			}
		} else {
			back.end() // before the message is handled
		}
	}
	a.note(func() { a.got = append(a.got, m) })
	return a.handle(c, way, m)
}

// key finds a private key by a kid: a key of a DID of the agent, by its DID URL, or a key
// by its did:key. That of the routing DID has no other name.
func (a *Agent) key(kid string) ecdh.KeyExchanger {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id, ok := a.own[did.Base(kid)]; ok {
		if kid == id.agree.KID {
			return id.agree.Key
		}
		return nil
	}
	wanted, ok := strings.CutPrefix(did.Base(kid), "did:key:")
	if !ok {
		return nil
	}
	for _, id := range a.own {
		if text, err := did.FormatMultikey(id.agree.Key.PublicKey()); err == nil && text == wanted {
			return id.agree.Key
		}
	}
	image, err := didkey.KeyAgreementPrivate(a.routing)
	if err != nil {
		return nil
	}
	v, e, err := multikeys(a.routing.Public().(ed25519.PublicKey), image.PublicKey())
	if err == nil && (wanted == v || wanted == e) {
		return image
	}
	return nil
}

// findConnection finds or makes the connection that a message belongs to, nil if there is
// none: by its pair of DIDs, by its sender, by the pair of its first recipient and of the issuer
// of its from_prior. A message with a sender to a DID of the agent makes one, of a new DID if
// that DID is open to everybody.
func (a *Agent) findConnection(m Message) (*connection, error) {
	if len(m.To) == 0 {
		return nil, nil
	}
	iss := ""
	if m.FromPrior != "" {
		if p, err := a.verifyPrior(a.ctx, m.FromPrior); err == nil {
			iss = p.Iss
		}
	}
	a.mu.Lock()
	ours, known := a.own[m.To[0]]
	for _, match := range []func(*connection) bool{
		func(c *connection) bool { return m.From != "" && c.ours.did == m.To[0] && c.theirs == m.From },
		func(c *connection) bool { return m.From != "" && c.theirs == m.From },
		func(c *connection) bool { return iss != "" && c.ours.did == m.To[0] && c.theirs == iss },
	} {
		if i := slices.IndexFunc(a.peers, match); i >= 0 {
			defer a.mu.Unlock()
			return a.peers[i], nil
		}
	}
	a.mu.Unlock()
	if !known || m.From == "" {
		return nil, nil
	}
	c := &connection{ours: ours, theirs: m.From}
	if ours == a.invitation {
		next, err := a.newDID(a.ctx)
		if err != nil {
			return nil, err
		}
		c.ours, c.fromPrior = next, ours.fromPrior(next.did, time.Now().Unix())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers = append(a.peers, c)
	return c, nil
}

// rotated takes note of what a message says about the DIDs of its connection.
func (a *Agent) rotated(c *connection, m Message) {
	p, err := prior{}, error(nil)
	if m.FromPrior != "" {
		if p, err = a.verifyPrior(a.ctx, m.FromPrior); err != nil {
			a.fail(err) // and the message is handled all the same
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case p.Iss == "":
	case p.Sub == "":
		c.theirs = ""
	case m.From == "" || p.Sub == m.From:
		c.theirs = p.Sub
	}
	if slices.ContainsFunc(m.To, func(id string) bool { return shortened(id) == shortened(c.ours.did) }) {
		c.fromPrior = "" // they know the new DID
	}
}

// keep makes a session a way of the connection, in place of another session of that kind.
func (a *Agent) keep(c *connection, back session, opened *craft.Opened) (*way, error) {
	to, err := a.senderKey(a.ctx, opened.SKID)
	if err != nil {
		return nil, err
	}
	w := &way{session: back, skid: craft.AgreeKey{KID: opened.KID, Key: a.key(opened.KID)}, to: craft.RecipientKey(opened.SKID, to)}
	a.mu.Lock()
	defer a.mu.Unlock()
	c.ways = append(slices.DeleteFunc(c.ways, func(o *way) bool { return o.lasts() == w.lasts() }), w)
	return w, nil
}

// invalid says what is wrong with a message of a known type.
func invalid(m Message) string {
	var body struct {
		Content json.RawMessage `json:"content"`
		Queries json.RawMessage `json:"queries"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil && m.Body != nil {
		return "the body is no object"
	}
	_, err := m.CreatedTime.Int64()
	switch {
	case m.Type == TypeBasicMessage && (err != nil || !strings.HasPrefix(string(body.Content), `"`)):
		return "a basic message needs created_time and content"
	case m.Type == TypeQueries && !strings.HasPrefix(string(body.Queries), "["):
		return "queries needs queries"
	}
	return ""
}

// handle does what a message asks for. The answer takes a way first, if that is not nil.
func (a *Agent) handle(c *connection, w *way, m Message) error {
	switch m.Type {
	case TypeForward:
		return a.forward(m)
	case TypePing, TypeQueries:
		if c == nil {
			return fmt.Errorf("%s without a connection", m.Type)
		}
		answer := answers(m)
		if answer == nil {
			return nil
		}
		return a.answer(c, w, *answer)
	case TypePingResponse, TypeBasicMessage, TypeDisclosures, TypeEmpty, TypeReport,
		TypeMediateGrant, TypeUpdateResponse, TypeKeylist:
		return nil
	}
	if c == nil {
		return fmt.Errorf("%s is not supported, or has no connection", m.Type)
	}
	switch m.Type {
	case TypeMediateRequest, TypeUpdate, TypeQuery, TypeStatusRequest, TypeDeliveryRequest, TypeMessagesReceived, TypeLiveDeliveryChange:
		return a.mediate(c, w, m)
	case TypeStatus, TypeDelivery:
		return a.pickedUp(m)
	}
	return a.answer(c, w, report(m, m.Type+" is not supported"))
}

// report is the problem report about a message. It names the message as its parent thread,
// and has no thread.
func report(m Message, why string) Message {
	r := newMessage(TypeReport, map[string]any{
		"description": map[string]string{"en": why, "code": "message-parse-failure"},
	})
	r.ParentThreadID = m.ID
	return r
}

// query asks for features of a type.
type query struct {
	FeatureType string `json:"feature-type"`
	Match       string `json:"match"`
}

func (q query) matches(protocol string) bool {
	start, rest, wild := strings.Cut(q.Match, "*")
	return q.FeatureType == "protocol" &&
		(protocol == q.Match || wild && strings.HasPrefix(protocol, start) && strings.HasSuffix(protocol, rest))
}

// answers is the answer to a ping or to queries, nil if none is wanted.
func answers(m Message) *Message {
	var body struct {
		ResponseRequested *bool   `json:"response_requested"`
		Queries           []query `json:"queries"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return nil
	}
	var answer Message
	if m.Type == TypePing {
		if body.ResponseRequested != nil && !*body.ResponseRequested {
			return nil
		}
		answer = newMessage(TypePingResponse, struct{}{})
	} else {
		features := []map[string]any{}
		for _, id := range protocols {
			if slices.ContainsFunc(body.Queries, func(q query) bool { return q.matches(id) }) {
				features = append(features, map[string]any{"id": id, "feature-type": "protocol", "roles": []string{"sender", "receiver"}})
			}
		}
		answer = newMessage(TypeDisclosures, map[string]any{"disclosures": features})
	}
	answer.ThreadID = m.thread()
	return &answer
}
