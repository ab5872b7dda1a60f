package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// relay is a mediator over HTTP and WebSocket, which answers each forward in its way.
type relay struct {
	*agenttest.Party
	t      *testing.T
	status int
	// report, if not nil, returns a report about a forward, signed by the DID by.
	report func(forward *message.Message) *message.Message
	by     *agenttest.Party
}

// newRelay starts a mediator, and returns a DID that is reached through it.
func newRelay(t *testing.T, r *relay) (recipient string) {
	t.Helper()
	r.t = t
	ws := wstransport.NewServer(transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		forward := r.open(ctx, p.Data)
		if r.report == nil || forward == nil {
			return nil
		}
		return w.Reply(ctx, r.complain(ctx, forward))
	}), wstransport.ServerConfig{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Upgrade") != "" {
			ws.ServeHTTP(w, req)
			return
		}
		r.serve(w, req)
	}))
	uri := "http://" + srv.Listener.Addr().String()
	if r.status == 0 {
		uri = "ws" + strings.TrimPrefix(uri, "http")
	}
	r.Party = agenttest.NewParty(t, uri)
	srv.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ws.Close(ctx); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return agenttest.NewParty(t, r.DID).DID
}

// open opens a forward.
func (r *relay) open(ctx context.Context, data []byte) *message.Message {
	u, err := r.Packer.Unpack(ctx, data)
	if err != nil || u.Message.Type != "https://didcomm.org/routing/2.0/forward" {
		r.t.Errorf("the mediator got %+v, %v", u, err)
		return nil
	}
	return u.Message
}

func (r *relay) serve(w http.ResponseWriter, req *http.Request) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
		return
	}
	forward := r.open(req.Context(), data)
	if r.report == nil || forward == nil {
		w.WriteHeader(r.status)
		return
	}
	p := r.complain(req.Context(), forward)
	w.Header().Set("Content-Type", p.MediaType)
	w.WriteHeader(r.status)
	if _, err := w.Write(p.Data); err != nil {
		r.t.Error(err)
	}
}

// complain returns the report about a forward.
func (r *relay) complain(ctx context.Context, forward *message.Message) transport.Packet {
	m, by := r.report(forward), r.Party
	if r.by != nil {
		by = r.by
	}
	m.ID, m.Typ, m.From = message.NewID(), message.MediaType, by.DID
	m.Type, m.Body = "https://didcomm.org/report-problem/2.0/problem-report", []byte(`{"code":"e.p.req.not_enroll","comment":"No such client."}`)
	e, err := by.Packer.Pack(ctx, m, envelope.SignBy(by.DID))
	if err != nil {
		r.t.Error(err)
		return transport.Packet{}
	}
	return transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data}
}

// A command that sends through a mediator tells what it knows: that the mediator has the
// message, or that the mediator has refused it.
func TestMediated(t *testing.T) {
	a, who := run(t)
	if err := a.stop(os.Interrupt); err != nil { // its home has keys now
		t.Fatal(err)
	}
	didcomm := runner(who.program, who.dir)
	about := func(id func(forward *message.Message) string) func(*message.Message) *message.Message {
		return func(forward *message.Message) *message.Message {
			return &message.Message{ParentThreadID: id(forward)}
		}
	}
	its := func(forward *message.Message) string { return forward.ID }
	const unconfirmed = "Handed to the mediator, unconfirmed"
	for _, tt := range []struct {
		name  string
		relay relay
		want  string // on standard error
		fails bool
	}{
		{"accepted", relay{status: http.StatusAccepted}, unconfirmed, false},
		{"done", relay{status: http.StatusOK}, unconfirmed, false},
		{"by WebSocket", relay{}, unconfirmed, false},
		{"reported by WebSocket", relay{report: about(its)}, "the mediator reports a problem: e.p.req.not_enroll", true},
		{"reported by another party by WebSocket", relay{report: about(its), by: agenttest.NewParty(t)}, unconfirmed, false},
		{"refused", relay{status: http.StatusBadRequest}, "400", true},
		{"failed", relay{status: http.StatusInternalServerError}, "500", true},
		{"reported", relay{status: http.StatusOK, report: about(its)}, "the mediator reports a problem: e.p.req.not_enroll: No such client.", true},
		{"reported in its thread", relay{status: http.StatusOK, report: func(forward *message.Message) *message.Message {
			return &message.Message{ThreadID: forward.ID}
		}}, "the mediator reports a problem: e.p.req.not_enroll", true},
		{"reported with an error", relay{status: http.StatusBadRequest, report: about(its)}, "400", true},
		{"another forward reported", relay{status: http.StatusOK, report: about(func(*message.Message) string { return message.NewID() })}, unconfirmed, false},
		{"reported by another party", relay{status: http.StatusOK, report: about(its), by: agenttest.NewParty(t)}, unconfirmed, false},
	} {
		for _, home := range []string{"nowhere", "home"} {
			t.Run(tt.name+", "+home, func(t *testing.T) {
				mediator := tt.relay
				to := newRelay(t, &mediator)
				stdout, stderr, status := didcomm(home, "send", "--no-queue", "--timeout", "10m", to, "hello")
				if tt.fails != (status == 1) || tt.fails != (stdout == "") || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
					t.Errorf("%d: %q, %q", status, stdout, stderr)
				}
			})
		}
	}
	t.Run("not acknowledged", func(t *testing.T) {
		to := newRelay(t, &relay{status: http.StatusOK})
		_, stderr, status := didcomm("home", "send", "--ack", "--timeout", "3s", to, "hello")
		if want := "didcomm: send: handed to the mediator, but not acknowledged: context deadline exceeded (waited 3s, see --timeout)\n"; status != 1 || stderr != want {
			t.Errorf("%d: %q, want %q", status, stderr, want)
		}
	})
	t.Run("queued", func(t *testing.T) {
		to := newRelay(t, &relay{status: http.StatusServiceUnavailable})
		stdout, stderr, status := didcomm("home", "send", to, "hello")
		if status != 0 || !strings.Contains(stderr, "Queued: not delivered yet") {
			t.Fatalf("%d: %q", status, stderr)
		}
		if stdout, stderr, status = didcomm("home", "outbox", "show", strings.TrimSpace(stdout)); status != 0 || !strings.Contains(stdout, ", a mediator\n") {
			t.Errorf("%d: %q, %q", status, stdout, stderr)
		}
	})
}
