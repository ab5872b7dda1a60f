package devices_test

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/devices"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

// world is a mediator among agents.
type world struct {
	*agenttest.Net
	mediator string
	state    *mediator.Mediator
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Net: agenttest.NewNet()}
	a := w.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		cfg.Store = store.New(store.Config{})
		var err error
		w.state, err = mediator.New(mediator.Config{DID: cfg.DID, Store: cfg.Store, Mailbox: store.NewMailbox(store.MailboxConfig{}), Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Handler = agent.NewMux(mediation.Serve(w.state, log), devices.Serve(w.state, log))
	}))
	w.mediator = a.DID()
	return w
}

// device runs an agent without an address.
func (w *world) device(t *testing.T) *agent.Agent { return w.Agent(t, nil, agenttest.Hidden()) }

// enrolled is a device with an account of its own.
func (w *world) enrolled(t *testing.T) *agent.Agent {
	t.Helper()
	a := w.device(t)
	if _, err := mediation.Enroll(t.Context(), a, w.mediator); err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) ticket(t *testing.T, by *agent.Agent, device string) []byte {
	t.Helper()
	ticket, err := devices.Ticket(t.Context(), by, w.mediator, device)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func dids(list []devices.Device) (ids []string) {
	for _, d := range list {
		ids = append(ids, d.DID)
	}
	return ids
}

func (w *world) wants(t *testing.T, of *agent.Agent, want ...*agent.Agent) {
	t.Helper()
	list, err := devices.List(t.Context(), of, w.mediator)
	if err != nil {
		t.Fatal(err)
	}
	got := dids(list)
	if len(got) != len(want) {
		t.Fatalf("devices %q, want %d", got, len(want))
	}
	for i, a := range want {
		if got[i] != a.DID() {
			t.Errorf("device %d: %s, want %s", i, got[i], a.DID())
		}
		if list[i].Joined.IsZero() {
			t.Errorf("device %d has no time", i)
		}
	}
}

// Each device of an account gets the mail of the account, until it leaves.
func TestDevices(t *testing.T) {
	w := newWorld(t)
	phone, laptop := w.enrolled(t), w.device(t)
	ticket := w.ticket(t, phone, laptop.DID())
	list, err := devices.Join(t.Context(), laptop, w.mediator, ticket)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	w.wants(t, phone, phone, laptop)

	const alias = "did:example:alias"
	if got, err := mediation.Update(t.Context(), laptop, w.mediator, []mediation.Change{{RecipientDID: alias, Action: mediation.Add}}); err != nil || got[0].Result != mediation.Success {
		t.Fatal(got, err)
	}
	if err := w.state.Accept(t.Context(), mediator.Forward{Next: alias, Packet: store.Packet{Data: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*agent.Agent{phone, laptop} {
		if s, err := w.state.Box(a.DID()).Status(t.Context()); err != nil || s.Count != 1 {
			t.Errorf("box: %+v, %v", s, err)
		}
	}

	if err := devices.Leave(t.Context(), phone, w.mediator, laptop.DID()); err != nil {
		t.Fatal(err)
	}
	w.wants(t, phone, phone)
	if _, err := devices.List(t.Context(), laptop, w.mediator); !errors.Is(err, devices.ErrNotEnrolled) {
		t.Errorf("list of a removed device: %v", err)
	}
	if _, err := devices.Join(t.Context(), laptop, w.mediator, ticket); !errors.Is(err, devices.ErrTicket) {
		t.Errorf("a ticket again: %v", err)
	}
	if err := devices.Leave(t.Context(), phone, w.mediator, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := devices.List(t.Context(), phone, w.mediator); !errors.Is(err, devices.ErrNotEnrolled) {
		t.Errorf("list after the last device has left: %v", err)
	}
}

// A ticket that is not what it should be lets nobody in, and no device joins without its own
// request.
func TestTickets(t *testing.T) {
	w := newWorld(t)
	phone := w.enrolled(t)
	owner := agenttest.NewParty(t) // with an account, too
	if _, err := w.state.Enroll(t.Context(), owner.DID, ""); err != nil {
		t.Fatal(err)
	}
	signed := func(device string, change func(*message.Message), opts ...envelope.PackOption) []byte {
		t.Helper()
		m, err := message.New(devices.TypeTicket, map[string]string{"device": device})
		if err != nil {
			t.Fatal(err)
		}
		m.From, m.To, m.ExpiresTime = owner.DID, []string{w.mediator}, time.Now().Add(time.Minute)
		change(m)
		if opts == nil {
			opts = []envelope.PackOption{envelope.SignBy(owner.DID), envelope.Signed()}
		}
		packed, err := owner.Packer.Pack(t.Context(), m, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return packed[0].Data
	}
	nothing := func(*message.Message) {}
	for _, tt := range []struct {
		name   string
		ticket func(device string) []byte
		want   error
	}{
		{"good", func(d string) []byte { return signed(d, nothing) }, nil},
		{"for another device", func(string) []byte { return signed("did:example:other", nothing) }, devices.ErrTicket},
		{"for no device", func(string) []byte { return signed("", nothing) }, devices.ErrTicket},
		{"no JSON", func(string) []byte { return []byte("ticket") }, devices.ErrTicket},
		{"no envelope", func(string) []byte { return []byte("{}") }, devices.ErrTicket},
		{"expired", func(d string) []byte {
			return signed(d, func(m *message.Message) { m.ExpiresTime = time.Now().Add(-time.Second) })
		}, devices.ErrTicket},
		{"for ever", func(d string) []byte { return signed(d, func(m *message.Message) { m.ExpiresTime = time.Time{} }) }, devices.ErrTicket},
		{"for another mediator", func(d string) []byte {
			return signed(d, func(m *message.Message) { m.To = []string{"did:example:mediator"} })
		}, devices.ErrTicket},
		{"of another type", func(d string) []byte {
			return signed(d, func(m *message.Message) { m.Type = mediation.TypeProof })
		}, devices.ErrTicket},
		{"not signed", func(d string) []byte { return signed(d, nothing, envelope.Plain()) }, devices.ErrTicket},
		{"of no device", func(d string) []byte { return w.ticket(t, w.device(t), d) }, devices.ErrNotEnrolled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			device := w.device(t)
			_, err := devices.Join(t.Context(), device, w.mediator, tt.ticket(device.DID()))
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if _, err := w.state.Account(t.Context(), device.DID()); (err == nil) != (tt.want == nil) {
				t.Errorf("account: %v", err)
			}
		})
	}
	// The phone has mail for another DID, so it does not change to another account.
	if got, err := mediation.Update(t.Context(), phone, w.mediator, []mediation.Change{{RecipientDID: "did:example:a", Action: mediation.Add}}); err != nil || got[0].Result != mediation.Success {
		t.Fatal(got, err)
	}
	if _, err := devices.Join(t.Context(), phone, w.mediator, signed(phone.DID(), nothing)); !errors.Is(err, devices.ErrTaken) {
		t.Errorf("join of a device of another account: %v", err)
	}
}

// A ticket is good for some minutes.
func TestTicketExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		phone, laptop := w.enrolled(t), w.device(t)
		ticket := w.ticket(t, phone, laptop.DID())
		time.Sleep(11 * time.Minute)
		if _, err := devices.Join(t.Context(), laptop, w.mediator, ticket); !errors.Is(err, devices.ErrTicket) {
			t.Errorf("an old ticket: %v", err)
		}
	})
}
