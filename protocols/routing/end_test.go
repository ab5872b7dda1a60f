package routing_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// send sends a message from an agent to a DID, and returns its last outcome.
func send(t testing.TB, a *agent.Agent, to string) (m *message.Message, last agent.Outcome, err error) {
	t.Helper()
	m, err = message.New("https://example.org/letter/1.0/letter", map[string]string{"text": "hello"})
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{to}
	err = a.Send(t.Context(), m, agent.Once(), agent.Outcomes(func(o agent.Outcome) { last = o }))
	return m, last, err
}

// An agent that sends to a party behind the mediator needs to know nothing of it, over HTTP and
// over WebSocket. It is told if the party is not a client.
func TestSend(t *testing.T) {
	for scheme, over := range map[string]agenttest.Option{"http": agenttest.HTTP(), "ws": agenttest.WebSocket()} {
		t.Run(scheme, func(t *testing.T) {
			n := agenttest.NewNet()
			o := openOffice(t, n, over)
			alice := n.Agent(t, nil, agenttest.HTTP())
			bob, stranger := agenttest.NewParty(t, o.DID()), agenttest.NewParty(t, o.DID())
			o.enroll(t, bob.DID)

			m, last, err := send(t, alice, bob.DID)
			if err != nil || !last.Mediated || last.Err != nil {
				t.Fatalf("outcome %v, %v", last, err)
			}
			mail := o.mail(t, bob.DID)
			if len(mail) != 1 {
				t.Fatalf("kept %d packets", len(mail))
			}
			u, err := bob.Packer.Unpack(t.Context(), mail[0].Packet.Data)
			if err != nil || u.Message.ID != m.ID || u.Sender() != alice.DID() {
				t.Errorf("opened %+v, %v", u, err)
			}

			_, last, err = send(t, alice, stranger.DID)
			var p *message.Problem
			if !errors.As(errors.Join(last.Err, err), &p) || p.Code != mediator.CodeNotEnrolled {
				t.Errorf("outcome %v, %v", last, err)
			}
		})
	}
}

// severing is a proxy that passes on requests, and drops some answers.
func severing(t *testing.T, to string, drop *atomic.Int32) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		resp, err := http.Post(to, r.Header.Get("Content-Type"), bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if drop.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// If the answer to a forward is lost, the forward comes again, and is kept once.
func TestLostAnswer(t *testing.T) {
	var drop atomic.Int32
	drop.Store(2)
	n := agenttest.NewNet()
	var proxied *agenttest.Party
	o := newOffice(t, n, func(c *config) {
		proxied = agenttest.NewParty(t, severing(t, endpointOf(t, c.agent.Packer, c.agent.DID), &drop))
		c.agent.DID, c.agent.Packer = proxied.DID, proxied.Packer
	})
	alice := n.Agent(t, nil, agenttest.HTTP(), agenttest.Configure(func(c *agent.Config) { c.MinBackoff = 1 }))
	bob := agenttest.NewParty(t, o.DID())
	o.enroll(t, bob.DID)
	m, err := message.New("https://example.org/letter/1.0/letter", nil)
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{bob.DID}
	if err := alice.Send(t.Context(), m, agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	if drop.Load() >= 0 {
		t.Error("no answer was lost")
	}
	if mail := o.mail(t, bob.DID); len(mail) != 1 {
		t.Errorf("kept %d packets", len(mail))
	}
}

// Two mediators with one store, as after a restart or behind a balancer, keep a forward that comes
// to both once.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	party := agenttest.NewParty(t)
	open := func() *office {
		st, err := sqlite.Open(t.Context(), path, sqlstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		return newOffice(t, agenttest.NewNet(), func(c *config) {
			c.mediator.Store, c.mediator.Mailbox = st, st.Mailbox()
			c.agent.DID, c.agent.Packer = party.DID, party.Packer
		})
	}
	first, second := open(), open()
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	first.enroll(t, bob.DID)
	e := letter(t, alice, bob)
	for range 2 {
		for _, o := range []*office{first, second} {
			f := pack(t, alice.Packer, o.forward(next(bob.DID), attach(e)))
			if a := o.post(t, f); a.status != http.StatusAccepted {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		}
	}
	second.wantMail(t, bob.DID, e.Data)
}
