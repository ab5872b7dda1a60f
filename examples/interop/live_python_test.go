//go:build interop

package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// pythonAgent is peers/live/agent.py around a library.
type pythonAgent struct{ *peer.Process }

// opened is a message as the agent has opened it.
type opened struct {
	Message  json.RawMessage   `json:"message"`
	Metadata envelope.Metadata `json:"metadata"`
	Over     string            `json:"over"` // the way that it came
}

func (a *liveAgent) startPython(t *testing.T, name, python string) pythonAgent {
	t.Helper()
	p := pythonAgent{peer.New(peer.Config{
		Path: python,
		Args: []string{"-B", filepath.Join(liveFolder(name), "main.py")},
		Env:  append(os.Environ(), "PYTHONPATH="+liveFolder("")),
	})}
	t.Cleanup(p.Close)
	var err error
	if a.hello, err = p.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func installPython(name string, oldest, newest int, python *string) func(context.Context) error {
	return func(ctx context.Context) error {
		dir, err := cache()
		if err != nil {
			return err
		}
		*python, err = peer.Python(ctx, peer.PythonConfig{
			Requirements: filepath.Join(liveFolder(name), "requirements.txt"),
			Cache:        dir, Oldest: oldest, Newest: newest,
		})
		return err
	}
}

// packageVersions are the versions of installed packages.
func packageVersions(ctx context.Context, python string, names ...string) (map[string]string, error) {
	const program = "import json, sys; from importlib.metadata import version; print(json.dumps({n: version(n) for n in sys.argv[1:]}))"
	out, err := exec.CommandContext(ctx, python, append([]string{"-c", program}, names...)...).Output()
	if err != nil {
		return nil, err
	}
	var versions map[string]string
	return versions, json.Unmarshal(out, &versions)
}

// create asks for a DID with an endpoint of a scheme, whose keys go by current or
// older names. Nothing is received for it yet.
func (p pythonAgent) create(ctx context.Context, scheme, names string) (string, error) {
	if _, err := p.received(ctx); err != nil {
		return "", err
	}
	var r peer.DIDResult
	err := p.Call(ctx, "create", map[string]string{"scheme": scheme, "names": names}, &r)
	return r.DID, err
}

// ping asks for a ping and returns it with its response.
func (p pythonAgent) ping(ctx context.Context, from, to, returnRoute string) (ping json.RawMessage, response opened, err error) {
	var r struct {
		opened
		Ping json.RawMessage `json:"ping"`
	}
	err = p.Call(ctx, "ping", map[string]string{"from": from, "to": to, "return_route": returnRoute}, &r)
	return r.Ping, r.opened, err
}

// received are the messages that came in since the last call.
func (p pythonAgent) received(ctx context.Context) ([]opened, error) {
	var r struct {
		Received []opened `json:"received"`
	}
	err := p.Call(ctx, "received", nil, &r)
	return r.Received, err
}

// ourAgent is an agent of this library with an endpoint of a scheme, and what it
// takes in.
func ourAgent(t *testing.T, scheme string) (*agent.Agent, <-chan *agent.Inbound) {
	t.Helper()
	in := make(chan *agent.Inbound, 16)
	mux := agent.NewMux(trustping.Handle())
	keep := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, m *agent.Inbound) error {
		in <- m
		return mux.HandleMessage(ctx, w, m)
	})
	way := agenttest.HTTP()
	if scheme == "ws" {
		way = agenttest.WebSocket()
	}
	return agenttest.NewNet().Agent(t, keep, way), in
}

// pings is the exchange that a peer begins: it pings us and gets its response,
// on the connection or at its endpoint.
func (p pythonAgent) pings(scheme, names, returnRoute string, tolerated ...message.DeviationCode) func(context.Context, *testing.T) error {
	return func(ctx context.Context, t *testing.T) error {
		us, in := ourAgent(t, scheme)
		them, err := p.create(ctx, scheme, names)
		if err != nil {
			return err
		}
		ping, response, err := p.ping(ctx, them, us.DID(), returnRoute)
		if err != nil {
			return err
		}
		got := <-in
		if got.From != them || !got.Metadata.Authenticated || got.To != us.DID() {
			return fmt.Errorf("we took a ping from %q to %q", got.From, got.To)
		}
		over := map[string]string{"http": "http", "ws": "websocket"}[scheme]
		if returnRoute == "all" {
			over = "in band"
		}
		return errors.Join(
			sameMessage(ping, plaintext(t, got.Message)),
			onlyTolerated(got.Metadata.Deviations, tolerated),
			answers(response, got.Message.ID, us.DID(), them, over))
	}
}

// answers checks a ping-response as a peer has opened it.
func answers(o opened, thid, from, to, over string) error {
	m, _, err := message.Parse(o.Message)
	switch {
	case err != nil:
		return err
	case m.Type != trustping.TypePingResponse || m.ThreadID != thid || m.From != from || !slices.Equal(m.To, []string{to}):
		return fmt.Errorf("the response is %s", o.Message)
	case !o.Metadata.Encrypted || !o.Metadata.Authenticated || did.Base(o.Metadata.EncryptedFromKID) != from:
		return fmt.Errorf("the response was opened with %+v", o.Metadata)
	case o.Over != over:
		return fmt.Errorf("the response came by %s, not by %s", o.Over, over)
	}
	return nil
}

// pinged is the exchange that we begin, with an agent that has an endpoint. A
// response on the connection is for one without: see pingedByProgram.
func (p pythonAgent) pinged(scheme, names string, opts func(us, them string) []agent.SendOption) func(context.Context, *testing.T) error {
	return func(ctx context.Context, t *testing.T) error {
		us, _ := ourAgent(t, scheme)
		them, err := p.create(ctx, scheme, names)
		if err != nil {
			return err
		}
		options := []agent.SendOption{agent.ReturnRoute("none")}
		if opts != nil {
			options = append(options, opts(us.DID(), them)...)
		}
		if _, err := trustping.Ping(ctx, us, them, options...); err != nil {
			return err
		}
		return p.tookPing(ctx, scheme, us.DID(), them, "none")
	}
}

// pingedByProgram is the exchange that "didcomm ping" begins, an agent without
// endpoint.
func (p pythonAgent) pingedByProgram(didcomm, scheme, names string) func(context.Context, *testing.T) error {
	return func(ctx context.Context, t *testing.T) error {
		them, err := p.create(ctx, scheme, names)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, didcomm, "ping", "--home", t.TempDir(), them)
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.HasPrefix(out, []byte("answer 1 from ")) {
			return fmt.Errorf("didcomm ping: %v: %s", err, out)
		}
		return p.tookPing(ctx, scheme, "", them, "all")
	}
}

// tookPing checks the one ping that the agent has received. An empty from is that
// of who is not known.
func (p pythonAgent) tookPing(ctx context.Context, scheme, from, to, returnRoute string) error {
	all, err := p.received(ctx)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("the agent has received %d messages", len(all))
	}
	got := all[0]
	m, _, err := message.Parse(got.Message)
	if err != nil {
		return err
	}
	if from == "" {
		from = m.From
	}
	switch {
	case m.Type != trustping.TypePing || m.From != from || !slices.Equal(m.To, []string{to}) || m.ReturnRoute != returnRoute:
		return fmt.Errorf("the ping was opened as %s", got.Message)
	case !got.Metadata.Encrypted || !got.Metadata.Authenticated || did.Base(got.Metadata.EncryptedFromKID) != from:
		return fmt.Errorf("the ping was opened with %+v", got.Metadata)
	case got.Over != map[string]string{"http": "http", "ws": "websocket"}[scheme]:
		return fmt.Errorf("the ping came by %s", got.Over)
	}
	return nil
}

// transports are the exchanges of current names, both ways.
func (a *liveAgent) transports(t *testing.T, p pythonAgent, didcomm string, tolerated ...message.DeviationCode) {
	for _, scheme := range []string{"http", "ws"} {
		over := " over " + map[string]string{"http": "HTTP", "ws": "WebSocket"}[scheme]
		a.talk(t, "it pings us"+over+", answered on the connection", works(p.pings(scheme, "current", "all", tolerated...)))
		a.talk(t, "it pings us"+over+", answered at its endpoint", works(p.pings(scheme, "current", "", tolerated...)))
		a.talk(t, "didcomm ping"+over+", answered on the connection", works(p.pingedByProgram(didcomm, scheme, "current")))
		a.talk(t, "we ping it"+over+", answered at our endpoint", works(p.pinged(scheme, "current", nil)))
	}
}

func (l *liveAgents) didcommMessaging(t *testing.T) {
	var python string
	a := l.agent(t, "didcomm-messaging", installPython("didcomm-messaging", 11, 13, &python))
	a.transports(t, a.startPython(t, "didcomm-messaging", python), l.didcomm, envelope.DeviationTyp)
}

func (l *liveAgents) didcommPython(t *testing.T) {
	var python string
	a := l.agent(t, "didcomm-python", installPython("didcomm-python", 11, 11, &python))
	p := a.startPython(t, "didcomm-python", python)
	a.transports(t, p, l.didcomm)
	for _, scheme := range []string{"http", "ws"} {
		over := ", keys by their older names, over " + map[string]string{"http": "HTTP", "ws": "WebSocket"}[scheme]
		a.talk(t, "it pings us"+over+", answered on the connection", works(p.pings(scheme, "older", "all", envelope.DeviationKID)))
		a.talk(t, "it pings us"+over+", answered at its endpoint", works(p.pings(scheme, "older", "", envelope.DeviationKID)))
		a.talk(t, "we ping it"+over+", answered at our endpoint", works(p.pinged(scheme, "older", olderNames)))
	}
}

// olderNames are the options for a message to who knows the keys of a did:peer:2
// by their own value.
func olderNames(us, them string) []agent.SendOption {
	return []agent.SendOption{agent.From(olderName(us)), agent.ToKeys(olderName(them))}
}

// olderName is the older name of the key agreement key of a did:peer:2.
func olderName(id string) string {
	_, key, _ := strings.Cut(id, ".Ez")
	key, _, _ = strings.Cut(key, ".")
	return id + "#" + key
}
