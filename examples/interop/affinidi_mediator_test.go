package interop_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

// affinidiMediator answers with the messages of affinidi-messaging-mediator 0.49.0, as its
// source has them (src/messages/protocols/message_pickup.rs and routing.rs). The mediator
// itself needs a login by HTTP before a message, and puts answers over HTTP into JSON of its
// own, which no agent of this suite does.
type affinidiMediator struct {
	mu    sync.Mutex
	queue []affinidiMail
}

type affinidiMail struct {
	id   string
	data []byte
	at   time.Time
}

// handle is the Mux option of the mediator.
func (m *affinidiMediator) handle(mux *agent.Mux) {
	const piuri = "https://didcomm.org/messagepickup/3.0"
	for _, p := range []agent.Protocol{
		{PIURI: piuri, Messages: map[string]agent.Handler{
			piuri + "/status-request":       agent.HandlerFunc(m.statusRequest),
			piuri + "/delivery-request":     agent.HandlerFunc(m.deliveryRequest),
			piuri + "/messages-received":    agent.HandlerFunc(m.messagesReceived),
			piuri + "/live-delivery-change": agent.HandlerFunc(m.statusRequest),
		}},
		{PIURI: "https://didcomm.org/routing/2.0", Messages: map[string]agent.Handler{
			"https://didcomm.org/routing/2.0/forward": agent.HandlerFunc(m.forward),
		}},
	} {
		agent.Handle(p)(mux)
	}
}

// forward keeps the envelope of a forward, in base64url without padding or in JSON, under its
// SHA-256.
func (m *affinidiMediator) forward(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
	if len(in.Message.Attachments) == 0 {
		return message.NewProblem("e.p.protocol.forwarding.attachments.missing", nil)
	}
	data, err := in.Message.Attachments[0].Data.Bytes()
	if err != nil {
		return err
	}
	hash := sha256.Sum256(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, affinidiMail{hex.EncodeToString(hash[:]), data, time.Now()})
	return nil
}

func (m *affinidiMediator) statusRequest(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body struct {
		Live bool `json:"live_delivery"` // of live-delivery-change
	}
	if err := in.Message.DecodeBody(&body); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	status := map[string]any{
		"recipient_did": in.From, "message_count": len(m.queue), "total_bytes": 0, "live_delivery": body.Live,
	}
	if len(m.queue) > 0 {
		at := m.queue[0].at.Unix()
		status["oldest_received_time"], status["newest_received_time"], status["longest_waited_seconds"] = at, at, time.Now().Unix()-at
	}
	return affinidiReply(ctx, w, in, "status", status, nil)
}

// deliveryRequest wants a recipient_did, which has to be the sender's, and a limit from 1 to
// 100.
func (m *affinidiMediator) deliveryRequest(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body struct {
		Recipient *string `json:"recipient_did"`
		Limit     *int    `json:"limit"`
	}
	if err := json.Unmarshal(in.Message.Body, &body); err != nil || body.Recipient == nil || body.Limit == nil {
		return &message.Problem{Code: "w.m.protocol.pickup.parse", Comment: "Couldn't parse delivery-request body. Reason: {1}", Args: []string{"missing field"}}
	}
	if *body.Recipient != in.From {
		return &message.Problem{Code: "e.p.authorization.did.session_mismatch", Comment: "Recipient DID ({1}) does not match session DID", Args: []string{*body.Recipient}}
	}
	if *body.Limit < 1 || *body.Limit > 100 {
		return &message.Problem{Code: "w.m.protocol.pickup.delivery_request.limit", Comment: "limit must be between 1 and 100 inclusive."}
	}
	m.mu.Lock()
	mail := slices.Clone(m.queue[:min(*body.Limit, len(m.queue))])
	m.mu.Unlock()
	if len(mail) == 0 {
		return m.statusRequest(ctx, w, in)
	}
	var parts []message.Attachment
	for _, q := range mail {
		parts = append(parts, message.Attachment{ID: q.id, Data: message.AttachmentData{Base64: base64.RawURLEncoding.EncodeToString(q.data)}})
	}
	return affinidiReply(ctx, w, in, "delivery", map[string]any{"recipient_did": *body.Recipient}, parts)
}

func (m *affinidiMediator) messagesReceived(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body struct {
		IDs []string `json:"message_id_list"`
	}
	if err := in.Message.DecodeBody(&body); err != nil {
		return err
	}
	m.mu.Lock()
	m.queue = slices.DeleteFunc(m.queue, func(q affinidiMail) bool { return slices.Contains(body.IDs, q.id) })
	m.mu.Unlock()
	return m.statusRequest(ctx, w, in)
}

// affinidiReply sends an answer, which expires after 5 minutes.
func affinidiReply(ctx context.Context, w agent.Responder, in *agent.Inbound, name string, body any, parts []message.Attachment) error {
	answer, err := message.New("https://didcomm.org/messagepickup/3.0/"+name, body)
	if err != nil {
		return err
	}
	answer.ThreadID, answer.Attachments = in.Message.Thread(), parts
	answer.ExpiresTime = time.Now().Add(5 * time.Minute)
	return w.Reply(ctx, answer)
}

// A message to an agent behind such a mediator is forwarded, and the agent picks the message up
// by the single requests of pickup 3.0.
func TestAffinidiMediator(t *testing.T) {
	net := agenttest.NewNet()
	mediator := net.Agent(t, agent.NewMux(new(affinidiMediator).handle), agenttest.HTTP())
	behind := agenttest.NewParty(t, mediator.DID())
	client := net.Agent(t, nil, agenttest.HTTP(), agenttest.Hidden(), agenttest.Configure(func(cfg *agent.Config) {
		cfg.DID, cfg.Packer = behind.DID, behind.Packer
	}))
	source := pickup.Source{Mediator: mediator.DID()}
	if mail, err := pickup.Request(t.Context(), client, source, 10, behind.DID); err != nil || len(mail) != 0 {
		t.Errorf("an empty queue: %d messages, %v", len(mail), err)
	}
	if err := basicmessage.Send(t.Context(), net.Agent(t, nil, agenttest.HTTP()), behind.DID, "hello", agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	st, err := pickup.RequestStatus(t.Context(), client, source, behind.DID)
	if err != nil || st.Count != 1 || time.Since(st.Oldest) > time.Minute {
		t.Errorf("the status is %+v, %v", st, err)
	}
	// The mediator wants to be told the DID.
	if p := (*message.Problem)(nil); !errors.As(func() error { _, err := pickup.Request(t.Context(), client, source, 10, ""); return err }(), &p) ||
		p.Code != "w.m.protocol.pickup.parse" {
		t.Errorf("a request without recipient_did is answered by %v", p)
	}
	mail, err := pickup.Request(t.Context(), client, source, 10, behind.DID)
	if err != nil || len(mail) != 1 {
		t.Fatalf("%d messages, %v", len(mail), err)
	}
	opened, err := behind.Packer.Unpack(t.Context(), mail[0].Packet.Data)
	if err != nil || string(opened.Message.Body) != `{"content":"hello"}` {
		t.Errorf("the message is %+v, %v", opened, err)
	}
	if err := pickup.Received(t.Context(), client, source, mail[0].ID); err != nil {
		t.Error(err)
	}
	if st, err := pickup.RequestStatus(t.Context(), client, source, ""); err != nil || st.Count != 0 {
		t.Errorf("after the ack, the status is %+v, %v", st, err)
	}
}
