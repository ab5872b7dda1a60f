package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// complainer is a peer that answers each message by a report, on the connection.
type complainer struct {
	*agenttest.Party
	report func(got *message.Message) *message.Message // nil for no answer
	as     *agenttest.Party                            // that the report is of
}

func (c *complainer) serve(ctx context.Context, w transport.Replier, p transport.Packet) error {
	u, err := c.Packer.Unpack(ctx, p.Data)
	if err != nil {
		return err
	}
	m := c.report(u.Message)
	if m == nil {
		return nil
	}
	m.ID, m.From, m.To = message.NewID(), c.as.DID, []string{u.Message.From}
	e, err := c.as.Packer.Pack(ctx, m, envelope.From(c.as.DID))
	if err != nil {
		return err
	}
	return w.Reply(ctx, transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data})
}

func newComplainer(t *testing.T, report func(got *message.Message) *message.Message) *complainer {
	t.Helper()
	c := &complainer{report: report}
	ws := wstransport.NewServer(transport.HandlerFunc(c.serve), wstransport.ServerConfig{})
	srv := httptest.NewUnstartedServer(httptransport.NewHandler(transport.HandlerFunc(c.serve), httptransport.HandlerConfig{WebSocket: ws}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ws.Close(ctx); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	c.Party = agenttest.NewParty(t, "http://"+srv.Listener.Addr().String())
	c.as = c.Party
	srv.Start()
	return c
}

// A report of the recipient is shown at once by the command that it is about, and by no
// other, whether the command goes by keys of its own or by a home's.
func TestReported(t *testing.T) {
	a, who := run(t)
	if err := a.stop(os.Interrupt); err != nil { // its home has keys now
		t.Fatal(err)
	}
	credo := func(edit func(m, got *message.Message)) func(got *message.Message) *message.Message {
		return func(got *message.Message) *message.Message {
			m := &message.Message{
				Type: "https://didcomm.org/notification/1.0/problem-report",
				Body: []byte(`{"description":{"code":"message-parse-failure","en":"Not supported, \u0007."}}`),
			}
			edit(m, got)
			return m
		}
	}
	byParent := newComplainer(t, credo(func(m, got *message.Message) { m.ParentThreadID = got.ID }))
	byThread := newComplainer(t, func(got *message.Message) *message.Message {
		return &message.Message{
			Type: "https://didcomm.org/report-problem/2.0/problem-report", ThreadID: got.ID,
			Body: []byte(`{"code":"message-parse-failure","comment":"Not {1}, {2}.","args":["supported","\u0007"]}`),
		}
	})
	elsewhere := newComplainer(t, credo(func(m, _ *message.Message) { m.ParentThreadID = message.NewID() }))
	another := newComplainer(t, credo(func(m, got *message.Message) { m.ThreadID = got.ID }))
	another.as = agenttest.NewParty(t)
	didcomm := func(home string, args ...string) (stdout, stderr string, err error) {
		cmd := exec.Command(who.program, args...)
		cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(who.dir, home))
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaint
		err = cmd.Run()
		return out.String(), complaint.String(), err
	}
	for _, home := range []string{"nowhere", "home"} {
		for _, way := range []string{"--ws=false", "--ws"} {
			for name, peer := range map[string]*complainer{"by thread": byThread, "by parent": byParent} {
				for _, args := range [][]string{{"ping"}, {"send"}, {"send", "--ack"}, {"send", "--no-queue"}} {
					t.Run(home+" "+way+" "+name+" "+strings.Join(args, " "), func(t *testing.T) {
						args := append(args, way, "--timeout", "10m", peer.DID)
						if args[0] == "send" {
							args = append(args, "hello")
						}
						stdout, stderr, err := didcomm(home, args...)
						if err == nil || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, `message-parse-failure: Not supported, \a.`) {
							t.Errorf("%v: %q, %q", err, stdout, stderr)
						}
					})
				}
			}
			for name, peer := range map[string]*complainer{"of something else": elsewhere, "of another party": another} {
				t.Run(home+" "+way+" "+name, func(t *testing.T) {
					if stdout, stderr, err := didcomm(home, "send", way, "--timeout", "2s", peer.DID, "hello"); err != nil || stdout == "" {
						t.Errorf("%v: %q, %q", err, stdout, stderr)
					}
				})
			}
		}
	}
}
