package credolike

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

const (
	// pollEvery is the time between two polls, for which Credo has 5 seconds.
	pollEvery = 200 * time.Millisecond
	// batch is how many messages the agent asks for at once.
	batch = 10
	// patience is how long a mediator may take for an answer.
	patience = 20 * time.Second
)

// mediation is the agent's relation to its mediator. It does not change once the agent is
// enrolled.
type mediation struct {
	*connection
	routingDID string
}

// update is an entry of a keylist-update, and with the result of its response.
type update struct {
	RecipientDID string `json:"recipient_did"`
	Action       string `json:"action"`
	Result       string `json:"result,omitempty"`
}

// enroll asks the mediator for mediation. The DID for the mediator has no address. It is
// registered too, in both forms.
func (a *Agent) enroll(ctx context.Context) error {
	ours, err := a.keepDID([]string{queueURI})
	if err != nil {
		return err
	}
	a.mediation.connection = &connection{ours: ours, theirs: a.cfg.Mediator}
	a.mu.Lock()
	a.peers = append(a.peers, a.mediation.connection)
	a.mu.Unlock()
	grant, err := a.request(ctx, newMessage(TypeMediateRequest, struct{}{}), TypeMediateGrant)
	if err != nil {
		return err
	}
	var body struct {
		RoutingDID string `json:"routing_did"`
	}
	if err := json.Unmarshal(grant.Body, &body); err != nil || body.RoutingDID == "" {
		return fmt.Errorf("the grant %s has no routing_did", grant.Body)
	}
	a.mediation.routingDID = body.RoutingDID
	return a.update(ctx, ours.did, shortened(ours.did))
}

// register tells the mediator about a new DID: its keys by did:key, and the DID in the form in
// which senders name it.
func (a *Agent) register(ctx context.Context, id *identity) error {
	v, err1 := did.FormatMultikey(id.sign.Public())
	e, err2 := did.FormatMultikey(id.agree.Key.PublicKey())
	return errors.Join(err1, err2, a.update(ctx, "did:key:"+v, "did:key:"+e), a.update(ctx, shortened(id.did)))
}

// update adds names to the keylist, and waits until the mediator has done so.
func (a *Agent) update(ctx context.Context, names ...string) error {
	var updates []update
	for _, name := range names {
		updates = append(updates, update{RecipientDID: name, Action: "add"})
	}
	m, err := a.request(ctx, newMessage(TypeUpdate, map[string]any{"updates": updates}), TypeUpdateResponse)
	if err != nil {
		return err
	}
	var body struct {
		Updated []update `json:"updated"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil || len(body.Updated) != len(names) {
		return fmt.Errorf("the update is answered by %s", m.Body)
	}
	for i, u := range body.Updated {
		if u.RecipientDID != names[i] || u.Result != "success" && u.Result != "no_change" {
			return fmt.Errorf("the update is answered by %s", m.Body)
		}
	}
	return nil
}

// request sends the mediator a message, and waits for the answer.
func (a *Agent) request(ctx context.Context, m Message, answer string) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m.ReturnRoute = "all"
	if err := a.toMediator(ctx, m, ""); err != nil {
		return Message{}, err
	}
	return a.Wait(ctx, func(got Message) bool { return got.Type == answer && got.ThreadID == m.ID })
}

// toMediator sends the mediator a message, to an address of a scheme.
func (a *Agent) toMediator(ctx context.Context, m Message, scheme string) error {
	a.mu.Lock()
	c := a.mediation.connection
	m.From, m.To, m.FromPrior = c.ours.did, []string{c.theirs}, c.fromPrior
	a.mu.Unlock()
	return a.toService(ctx, m.To[0], m, &c.ours.agree, scheme)
}

// scheme is that of the addresses for pickup.
func (a *Agent) scheme() string {
	if a.cfg.Live {
		return "ws"
	}
	return "http"
}

// pickUp picks up until the agent is closed.
func (a *Agent) pickUp() {
	for a.ctx.Err() == nil {
		ended, err := a.drain()
		if err != nil && a.ctx.Err() == nil {
			a.fail(err)
		}
		pause := time.After(pollEvery)
		if ended != nil {
			select {
			case <-ended:
			case <-a.ctx.Done():
			}
		}
		select {
		case <-pause:
		case <-a.ctx.Done():
		}
	}
}

// drain asks for what the mediator has, and returns when there is nothing more. To a mediator
// with WebSocket, the agent then goes live, on a socket whose end is returned.
func (a *Agent) drain() (ended <-chan struct{}, err error) {
	ctx, cancel := context.WithTimeout(a.ctx, patience)
	defer cancel()
	before := len(a.Received())
	status := newMessage(TypeStatusRequest, struct{}{})
	status.ReturnRoute = "all"
	if err := a.toMediator(ctx, status, a.scheme()); err != nil {
		return nil, err
	}
	if _, err := a.waitAfter(ctx, before, drained); err != nil || !a.cfg.Live {
		return nil, err
	}
	live := newMessage(TypeLiveDeliveryChange, map[string]bool{"live_delivery": true})
	live.ReturnRoute = "all"
	if err := a.toMediator(ctx, live, a.scheme()); err != nil {
		return nil, err
	}
	a.dialing.Lock()
	defer a.dialing.Unlock()
	for uri, s := range a.sockets {
		if strings.HasPrefix(uri, "ws") {
			ended = s.ended
		}
	}
	return ended, nil
}

// drained says that the mediator has nothing more.
func drained(m Message) bool {
	var body struct {
		Count int `json:"message_count"`
	}
	switch m.Type {
	case TypeStatus:
		return json.Unmarshal(m.Body, &body) == nil && body.Count == 0
	case TypeDelivery:
		return len(m.Attachments) == 0
	}
	return false
}

// pickedUp goes on with an answer to a pickup. What a delivery has is acknowledged at once,
// whether it opens or not. After a delivery that was asked for, the agent asks for more.
func (a *Agent) pickedUp(m Message) error {
	more := newMessage(TypeDeliveryRequest, map[string]int{"message_count_limit": batch})
	more.ReturnRoute = "all"
	if m.Type == TypeStatus {
		if drained(m) {
			return nil
		}
		return a.toMediator(a.ctx, more, a.scheme())
	}
	if len(m.Attachments) == 0 {
		return nil
	}
	var ids []string
	for _, part := range m.Attachments {
		ids = append(ids, part.ID)
	}
	a.begin(func() {
		for _, part := range m.Attachments {
			if err := a.receive(part.Data.Base64, nil); err != nil {
				a.fail(err)
			}
		}
	})
	err := a.toMediator(a.ctx, newMessage(TypeMessagesReceived, map[string][]string{"message_id_list": ids}), a.scheme())
	if err == nil && m.ThreadID != "" {
		err = a.toMediator(a.ctx, more, a.scheme())
	}
	return err
}
