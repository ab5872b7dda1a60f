package pickup_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/transport"
)

// hostile is a mediator that answers each delivery-request by f.
func hostile(t *testing.T, f func(m *message.Message)) (ours *agent.Agent, c *pickup.Collector, source pickup.Source, acked *atomic.Int64) {
	t.Helper()
	acked = new(atomic.Int64)
	net := agenttest.NewNet()
	theirs := net.Agent(t, agent.NewMux(agent.Handle(agent.Protocol{PIURI: pickup.PIURI4, Custody: map[string]agent.Handler{
		mp4 + "delivery-request": agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
			m := &message.Message{Type: mp4 + "delivery"}
			f(m)
			return w.Reply(ctx, m)
		}),
		mp4 + "messages-received": agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
			var b struct {
				List []string `json:"message_id_list"`
			}
			err := in.Message.DecodeBody(&b)
			acked.Add(int64(len(b.List)))
			return err
		}),
	}})))
	c = pickup.NewCollector(pickup.Config{MaxParked: 10})
	ours = net.Agent(t, agent.NewMux(c.Handle()), agenttest.Hidden(), agenttest.Configure(func(cfg *agent.Config) { cfg.MailWindow = time.Hour }))
	return ours, c, pickup.Source{Mediator: theirs.DID()}, acked
}

// What a hostile mediator delivers costs little, and ends.
func TestHostileDelivery(t *testing.T) {
	attachment := func(id, data string) message.Attachment {
		return message.Attachment{ID: id, Data: message.AttachmentData{Base64: data}}
	}
	for name, test := range map[string]struct {
		deliver func(*message.Message)
		parked  int // in one delivery; the mediator delivers the same again
		acks    int64
		want    error
	}{
		"ignores acks": {func(m *message.Message) { m.Attachments = []message.Attachment{attachment("x", "e30")} }, 2, 2, pickup.ErrAcksIgnored},
		"too many": {func(m *message.Message) {
			for i := range 300 {
				m.Attachments = append(m.Attachments, attachment(fmt.Sprint(i), "e30"))
			}
		}, 400, 400, pickup.ErrAcksIgnored},
		"no ids": {func(m *message.Message) { m.Attachments = []message.Attachment{attachment("", "e30")} }, 1, 0, nil},
		"long ids": {func(m *message.Message) {
			m.Attachments = []message.Attachment{attachment(strings.Repeat("x", 10_000), "e30")}
		}, 1, 0, nil},
		"no data":   {func(m *message.Message) { m.Attachments = []message.Attachment{{ID: "x"}} }, 2, 2, pickup.ErrAcksIgnored},
		"no base64": {func(m *message.Message) { m.Attachments = []message.Attachment{attachment("x", "\x01?")} }, 2, 2, pickup.ErrAcksIgnored},
		"a link": {func(m *message.Message) {
			m.Attachments = []message.Attachment{{ID: "x", Data: message.AttachmentData{Links: []string{"http://127.0.0.1/"}}}}
		}, 2, 2, pickup.ErrAcksIgnored},
		"other type": {func(m *message.Message) { m.Type = mp4 + "surprise" }, 0, 0, errAny},
		"a status": {func(m *message.Message) {
			m.Type, m.Body = mp4+"status", []byte(`{"message_count":"7","total_bytes":-1,"live_delivery":[]}`)
		}, 0, 0, nil},
		"other major": {func(m *message.Message) { m.Type = "https://didcomm.org/message-pickup/9.0/delivery" }, 0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ours, c, source, acked := hostile(t, test.deliver)
			p, err := c.Collect(t.Context(), ours, source)
			if test.want == errAny && err == nil || test.want != errAny && !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if p.Parked != test.parked || acked.Load() != test.acks {
				t.Errorf("%+v, and %d acked", p, acked.Load())
			}
			if list, err := pickup.ListParked(t.Context(), ours.Store().Records()); err != nil || len(list) > 10 {
				t.Errorf("%d are parked, %v", len(list), err)
			}
		})
	}
}

var errAny = errors.New("any error")

// A delivery from anybody but a mediator of ours is refused: its contents could be older than
// messages that come directly.
func TestDeliveryOfStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		w, s := o.newWallet(t, pickup.Config{NoLive: true}), sender{agenttest.NewParty(t)}
		w.run(t)
		synctest.Wait()
		stranger := o.net.Agent(t, nil)
		old, _ := s.note(t, w.DID(), func(m *message.Message) { m.CreatedTime = time.Now().Add(-10 * 24 * time.Hour) })
		m, err := message.New(mp4+"delivery", nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Attachments = []message.Attachment{message.JSONAttachment("x", "", []byte(old))}
		m.From, m.To = stranger.DID(), []string{w.DID()}
		list, err := stranger.Packer().Pack(t.Context(), m, envelope.From(stranger.DID()))
		if err == nil {
			_, err = w.ServePacket(t.Context(), new(post), transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data})
		}
		if err == nil {
			t.Error("accepted")
		}
		synctest.Wait()
		if len(w.notes) != 0 {
			t.Error("handled")
		}
	})
}
