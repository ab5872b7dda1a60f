package credolike

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

// Ping sends a ping and returns its id.
func (a *Agent) Ping(ctx context.Context, to string) (string, error) {
	return a.Send(ctx, to, newMessage(TypePing, map[string]bool{"response_requested": true}))
}

// Say sends a basic message and returns its id.
func (a *Agent) Say(ctx context.Context, to, content string) (string, error) {
	m := newMessage(TypeBasicMessage, map[string]string{"content": content})
	m.CreatedTime, m.ThreadID = json.Number(fmt.Sprint(time.Now().Unix())), m.ID
	return a.Send(ctx, to, m)
}

// Query asks for the protocols of a peer, and returns the id of the query.
func (a *Agent) Query(ctx context.Context, to string) (string, error) {
	return a.Send(ctx, to, newMessage(TypeQueries, map[string]any{
		"queries": []map[string]string{{"feature-type": "protocol", "match": "https://didcomm.org/*"}},
	}))
}

// Send sends a message to a peer, by a DID of the agent for that peer alone, and returns
// the id of the message.
func (a *Agent) Send(ctx context.Context, to string, m Message) (string, error) {
	c, err := a.connect(ctx, to)
	if err != nil {
		return "", err
	}
	return m.ID, a.send(ctx, c, m)
}

// Rotate changes the DID that the agent has for a peer, tells the peer and returns the new
// DID.
func (a *Agent) Rotate(ctx context.Context, to string) (string, error) {
	c, err := a.connect(ctx, to)
	if err != nil {
		return "", err
	}
	next, err := a.newDID(ctx)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	c.fromPrior = c.ours.fromPrior(next.did, time.Now().Unix())
	c.ours, c.ways = next, nil
	a.mu.Unlock()
	return next.did, a.send(ctx, c, newMessage(TypeEmpty, struct{}{}))
}

// HangUp ends the relation to a peer. The agent forgets the connection.
func (a *Agent) HangUp(ctx context.Context, to string) error {
	c, err := a.connect(ctx, to)
	if err != nil {
		return err
	}
	a.mu.Lock()
	m := newMessage(TypeEmpty, struct{}{})
	m.To, m.FromPrior = []string{c.theirs}, c.ours.fromPrior("", time.Now().Unix())
	for i := range a.peers {
		if a.peers[i] == c {
			a.peers = append(a.peers[:i:i], a.peers[i+1:]...)
			break
		}
	}
	a.mu.Unlock()
	return a.toService(ctx, m.To[0], m, nil, "")
}

// connect returns the connection to a peer, which it makes if there is none.
func (a *Agent) connect(ctx context.Context, to string) (*connection, error) {
	a.mu.Lock()
	for _, c := range a.peers {
		if c.theirs == to {
			a.mu.Unlock()
			return c, nil
		}
	}
	a.mu.Unlock()
	ours, err := a.newDID(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &connection{ours: ours, theirs: to}
	a.peers = append(a.peers, c)
	return c, nil
}

// send completes a message and sends it: on an open session of the connection, else to the
// services of the peer's DID.
func (a *Agent) send(ctx context.Context, c *connection, m Message) error {
	a.mu.Lock()
	ways := slices.Clone(c.ways)
	a.mu.Unlock()
	return a.sendBy(ctx, c, ways, m)
}

// answer sends the answer to a message that came by a way, or by none.
func (a *Agent) answer(c *connection, w *way, m Message) error {
	if w == nil {
		return a.send(a.ctx, c, m)
	}
	return a.sendBy(a.ctx, c, []*way{w}, m)
}

// sendBy tries ways in their order, and forgets those that have ended.
func (a *Agent) sendBy(ctx context.Context, c *connection, ways []*way, m Message) error {
	a.mu.Lock()
	m.From, m.To, m.FromPrior = c.ours.did, []string{c.theirs}, c.fromPrior
	ours := c.ours
	a.sent++
	a.mu.Unlock()
	if m.To[0] == "" {
		return errors.New("the peer has hung up")
	}
	for _, w := range ways {
		if sent, err := w.send(m); sent || err != nil {
			return err
		}
		a.mu.Lock()
		c.ways = slices.DeleteFunc(c.ways, func(o *way) bool { return o == w })
		a.mu.Unlock()
	}
	return a.toService(ctx, m.To[0], m, &ours.agree, "")
}

// send sends a complete message. It returns false when the way has ended.
func (w *way) send(m Message) (bool, error) {
	plaintext, err := json.Marshal(m)
	if err != nil {
		return false, err
	}
	return w.reply((&craft.JWE{From: &w.skid, To: []craft.AgreeKey{w.to}}).Seal(plaintext)), nil
}

// toService encrypts a message and sends it to the first service of a DID that takes it. Those
// whose address begins with scheme come first.
func (a *Agent) toService(ctx context.Context, to string, m Message, from *craft.AgreeKey, scheme string) error {
	doc, err := a.resolve(ctx, to)
	if err != nil {
		return err
	}
	if len(doc.KeyAgreementKeys()) == 0 {
		return fmt.Errorf("%s has no key", to)
	}
	method := doc.KeyAgreementKeys()[0]
	key, err := method.ECDH()
	if err != nil {
		return err
	}
	plaintext, err := json.Marshal(m)
	if err != nil {
		return err
	}
	sealed := (&craft.JWE{From: from, To: []craft.AgreeKey{craft.RecipientKey(method.ID, key)}}).Seal(plaintext)
	failed := fmt.Errorf("%s has no service", to)
	services := doc.DIDCommServices()
	slices.SortStableFunc(services, func(s, t did.Endpoint) int {
		if strings.HasPrefix(s.URI, scheme) == strings.HasPrefix(t.URI, scheme) {
			return 0
		}
		if strings.HasPrefix(s.URI, scheme) {
			return -1
		}
		return 1
	})
	for _, s := range services {
		uri, hops, err := a.service(ctx, s)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		wrapped := sealed
		next := shortened(to)
		for i := len(hops) - 1; i >= 0; i-- {
			wrapped = wrap(hops[i], next, wrapped)
			next = hops[i].didKey
		}
		if err := a.post(ctx, uri, wrapped); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		return nil
	}
	return failed
}

// service returns the address of a service and the keys to wrap for. Those of a mediator
// come from its DID. Of routing keys, only Ed25519 keys count.
func (a *Agent) service(ctx context.Context, s did.Endpoint) (uri string, hops []hop, err error) {
	if strings.HasPrefix(s.URI, queueURI) {
		return "", nil, errors.New("the peer fetches its messages")
	}
	if strings.HasPrefix(s.URI, "did:") {
		doc, err := a.resolve(ctx, s.URI)
		if err != nil {
			return "", nil, err
		}
		services := doc.DIDCommServices()
		if len(services) == 0 {
			return "", nil, fmt.Errorf("mediator %s has no service", s.URI)
		}
		return services[0].URI, hopsOf(doc), nil
	}
	for _, id := range s.RoutingKeys {
		doc, err := a.resolve(ctx, did.Base(id))
		if err != nil {
			return "", nil, err
		}
		for _, m := range doc.AuthenticationKeys() {
			public, err := m.PublicKey()
			if err != nil {
				return "", nil, err
			}
			h, err := newHop(public)
			if err != nil {
				return "", nil, err
			}
			hops = append(hops, h)
		}
	}
	return s.URI, hops, nil
}

// wrap puts an envelope into a forward for a key of a mediator.
func wrap(h hop, next string, envelope []byte) []byte {
	m := newMessage(TypeForward, map[string]string{"next": next})
	m.To = []string{h.didKey}
	part := attachment{ID: m.ID, MediaType: "application/didcomm-encrypted+json"}
	part.Data.JSON = envelope
	m.Attachments = []attachment{part}
	plaintext, err := json.Marshal(m)
	if err != nil {
		panic(err) // envelope is of this package
	}
	return (&craft.JWE{To: []craft.AgreeKey{craft.RecipientKey(h.didKey, h.key)}}).Seal(plaintext)
}
