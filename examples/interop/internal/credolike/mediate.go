package credolike

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// client is a peer that this agent mediates.
type client struct {
	recipients []string // in short form
	queue      []*queued
	live       *way // nil unless it is live
}

// queued is an envelope for a client.
type queued struct {
	id        string
	recipient string
	data      []byte
	at        time.Time
	taken     bool // in a delivery, so that it is in no other one
}

// mediate does what a client asks for. The client goes live on the way of its request.
func (a *Agent) mediate(c *connection, w *way, m Message) error {
	var body struct {
		Updates   []update `json:"updates"`
		Recipient string   `json:"recipient_did"`
		Limit     int      `json:"message_count_limit"`
		IDs       []string `json:"message_id_list"`
		Live      bool     `json:"live_delivery"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return err
	}
	a.mu.Lock()
	if m.Type == TypeMediateRequest && c.client == nil {
		c.client = new(client)
	}
	if c.client == nil {
		a.mu.Unlock()
		return fmt.Errorf("%s from a stranger", m.Type)
	}
	if m.Type == TypeLiveDeliveryChange {
		c.client.live = nil
		if body.Live {
			c.client.live = w
		}
	}
	answer := c.client.answer(m.Type, body.Updates, body.Recipient, body.Limit, body.IDs, body.Live)
	a.mu.Unlock()
	switch {
	case m.Type == TypeMediateRequest:
		answer = &Message{Type: TypeMediateGrant, ID: message.NewID(), Body: newMessage("", map[string]string{"routing_did": a.routingDID}).Body}
	case answer == nil:
		return nil
	}
	answer.ThreadID = m.thread()
	return a.answer(c, w, *answer)
}

// answer changes the state of a client and makes the answer, nil for none. The mutex of the
// agent is held.
func (c *client) answer(typ string, updates []update, recipient string, limit int, ids []string, live bool) *Message {
	switch typ {
	case TypeUpdate:
		for i, u := range updates {
			name := shortened(u.RecipientDID)
			at := slices.Index(c.recipients, name)
			updates[i].Result = "success"
			switch {
			case u.Action == "add" && at < 0:
				c.recipients = append(c.recipients, name)
			case u.Action == "remove" && at >= 0:
				c.recipients = slices.Delete(c.recipients, at, at+1)
			case u.Action != "add":
				updates[i].Result = "no_change"
			}
		}
		return made(TypeUpdateResponse, map[string]any{"updated": updates})
	case TypeQuery:
		keys := []map[string]string{}
		for _, r := range c.recipients {
			keys = append(keys, map[string]string{"recipient_did": r})
		}
		return made(TypeKeylist, map[string]any{"keys": keys})
	case TypeStatusRequest:
		return c.status(recipient, nil)
	case TypeDeliveryRequest:
		return c.delivery(recipient, limit)
	case TypeMessagesReceived:
		c.queue = slices.DeleteFunc(c.queue, func(q *queued) bool { return slices.Contains(ids, q.id) })
		return nil
	}
	return c.status("", &live)
}

func made(typ string, body any) *Message {
	m := newMessage(typ, body)
	return &m
}

// status says how much waits.
func (c *client) status(recipient string, live *bool) *Message {
	count := 0
	for _, q := range c.queue {
		if q.waits(recipient) {
			count++
		}
	}
	return made(TypeStatus, struct {
		Recipient string `json:"recipient_did,omitempty"`
		Count     int    `json:"message_count"`
		Live      *bool  `json:"live_delivery,omitempty"`
	}{recipient, count, live})
}

func (q *queued) waits(recipient string) bool {
	return !q.taken && (recipient == "" || q.recipient == shortened(recipient))
}

// delivery takes up to limit messages. It has an empty list of attachments if there are none.
func (c *client) delivery(recipient string, limit int) *Message {
	m := made(TypeDelivery, struct {
		Recipient string `json:"recipient_did,omitempty"`
	}{recipient})
	m.Attachments = []attachment{}
	for _, q := range c.queue {
		if len(m.Attachments) < limit && q.waits(recipient) {
			q.taken = true
			part := attachment{ID: q.id, LastmodTime: q.at.UTC().Format("2006-01-02T15:04:05.000Z")}
			part.Data.Base64 = q.data
			m.Attachments = append(m.Attachments, part)
		}
	}
	return m
}

// forward puts the envelope in a forward into the queue of the client that it is for, and
// delivers from that queue to a client that is live.
func (a *Agent) forward(m Message) error {
	var body struct {
		Next string `json:"next"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return err
	}
	if body.Next == "" || len(m.Attachments) == 0 || m.Attachments[0].Data.JSON == nil {
		return errors.New("a forward without next or envelope")
	}
	next := shortened(body.Next)
	a.mu.Lock()
	i := slices.IndexFunc(a.peers, func(c *connection) bool { return c.client != nil && slices.Contains(c.client.recipients, next) })
	if i < 0 {
		a.mu.Unlock()
		return fmt.Errorf("no client %s", body.Next)
	}
	c := a.peers[i]
	c.client.queue = append(c.client.queue, &queued{id: message.NewID(), recipient: next, data: m.Attachments[0].Data.JSON, at: time.Now()})
	live := c.client.live
	var delivery *Message
	if live != nil && live.open() {
		delivery = c.client.delivery(next, batch)
		delivery.From, delivery.To, delivery.FromPrior = c.ours.did, []string{c.theirs}, c.fromPrior
	}
	a.mu.Unlock()
	if delivery == nil {
		return nil
	}
	sent, err := live.send(*delivery)
	if !sent && err == nil {
		err = fmt.Errorf("%s was live and is gone", c.theirs)
	}
	return err
}
