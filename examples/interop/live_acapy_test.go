//go:build interop

package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
	"github.com/didcomm-go/didcomm/protocols/report"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

// acapyAgent is ACA-Py itself, started as its users do, with its switch for
// DIDComm v2, a wallet in a temporary folder and no ledger.
type acapyAgent struct {
	*peer.Server
	endpoint, admin string
}

// acapyReady is the line that ACA-Py logs when it serves.
var acapyReady = regexp.MustCompile(`Listening\.\.\.`)

func (l *liveAgents) acapy(t *testing.T) {
	var python string
	a := l.agent(t, "acapy", installPython("acapy", 13, 13, &python))
	them := startACAPy(t, a, python)
	a.talk(t, "we ping it over HTTP, with return_route", them.answers)
	a.talk(t, "we ping it over HTTP, without return_route", them.staysSilent)
	a.talk(t, "we ping it over HTTP, with return_route, as a DID without service", them.failsWithoutService)
	a.talk(t, "an envelope that does not open, over HTTP", them.takesAnything)
}

// startACAPy starts the agent. It cannot say which port it got, so that it is
// told one; if somebody else was faster it gets another.
func startACAPy(t *testing.T, a *liveAgent, python string) *acapyAgent {
	t.Helper()
	var err error
	for range 3 {
		in, admin := freePort(t), freePort(t)
		them := &acapyAgent{endpoint: "http://127.0.0.1:" + in, admin: "http://127.0.0.1:" + admin}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		them.Server, err = peer.Serve(ctx, peer.ServerConfig{
			Path: python,
			Args: []string{
				"-B", filepath.Join(liveFolder("acapy"), "main.py"), "start", "--experimental-didcomm-v2", "--no-ledger", "--log-level", "info",
				"--inbound-transport", "http", "127.0.0.1", in, "--outbound-transport", "http", "--endpoint", them.endpoint,
				"--admin", "127.0.0.1", admin, "--admin-insecure-mode",
				"--wallet-type", "askar", "--wallet-name", "live", "--wallet-key", "live", "--auto-provision",
			},
			// The wallet is an SQLite file in the home directory.
			Env:   append(os.Environ(), "HOME="+t.TempDir(), "USERPROFILE="+t.TempDir(), "PYTHONUNBUFFERED=1"),
			Ready: acapyReady,
		})
		cancel()
		if err != nil {
			continue
		}
		t.Cleanup(them.Close)
		a.hello.Versions, err = packageVersions(t.Context(), python, "acapy-agent", "didcomm-messaging", "aries-askar")
		if err != nil {
			t.Fatal(err)
		}
		return them
	}
	t.Fatal(err)
	return nil
}

// freePort is a TCP port on loopback that was free.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// did asks the agent for an invitation and takes the did:peer:2 in it.
func (a *acapyAgent) did(ctx context.Context) (string, error) {
	body := `{"use_did_method":"did:peer:2","handshake_protocols":["https://didcomm.org/didexchange/1.1"]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.admin+"/out-of-band/create-invitation", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var r struct {
		Invitation struct {
			Services []string `json:"services"`
		} `json:"invitation"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return "", err
	}
	if len(r.Invitation.Services) != 1 || !strings.HasPrefix(r.Invitation.Services[0], "did:peer:2") {
		return "", fmt.Errorf("the invitation is of %q", r.Invitation.Services)
	}
	return r.Invitation.Services[0], nil
}

// tap keeps what comes back on connections, and hands it on.
type tap struct {
	to   transport.Handler
	kept chan tapped
}

// tapped is a packet and what its handler said.
type tapped struct {
	transport.Packet
	err error
}

// ServePacket implements transport.Handler.
func (h tap) ServePacket(ctx context.Context, w transport.Replier, p transport.Packet) (handled <-chan struct{}, err error) {
	handled, err = h.to.ServePacket(ctx, w, p)
	h.kept <- tapped{p, err}
	return handled, err
}

// pinging is an agent of ours that sends one ping, and what came back on the
// connection.
type pinging struct {
	ping   *message.Message
	packer *envelope.Packer
	back   chan tapped
}

// ping sends a ping to the agent, which it takes with a 2xx.
func (a *acapyAgent) ping(ctx context.Context, t *testing.T, returnRoute string) (*pinging, error) {
	them, err := a.did(ctx)
	if err != nil {
		return nil, err
	}
	us := agenttest.NewParty(t, did.QueueURI)
	guard := &netguard.Guard{AllowLoopback: true}
	client, err := httptransport.NewClient(httptransport.ClientConfig{Dial: guard.DialContext})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { client.Close() })
	ours := agenttest.NewNet().Agent(t, nil, agenttest.Configure(func(c *agent.Config) {
		c.DID, c.Packer = us.DID, us.Packer
		c.Senders = map[string]transport.Sender{"http": client}
		c.MinBackoff = time.Hour // one try
	}))
	p := &pinging{packer: us.Packer, back: make(chan tapped, 1)}
	client.Bind(tap{ours, p.back})
	if p.ping, err = message.New(trustping.TypePing, trustping.PingBody{}); err != nil {
		return nil, err
	}
	p.ping.ID, p.ping.To = message.NewID(), []string{them}
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return p, ours.Send(short, p.ping, agent.ReturnRoute(returnRoute), agent.AwaitDelivery())
}

// answers: it opens the ping and has no protocols for DIDComm v2, so that its
// answer is a problem report (core/dispatcher.py, handle_v2_message). That has no
// from, which DIDComm demands in what is authcrypted: it is refused here, and the
// doctor says why.
func (a *acapyAgent) answers(ctx context.Context, t *testing.T) (string, error) {
	p, err := a.ping(ctx, t, "all")
	if err != nil {
		return "", err
	}
	var back tapped
	select {
	case back = <-p.back:
	default:
		return "", errors.New("nothing came back")
	}
	r := doctor.Open(ctx, p.packer, back.Data)
	if len(r.Layers) != 2 {
		return "", fmt.Errorf("the answer is %s: %v", back.Data, r.Findings)
	}
	var h struct {
		Type           string `json:"type"`
		ParentThreadID string `json:"pthid"`
		From           string `json:"from"`
	}
	if err := json.Unmarshal(r.Layers[1].Headers, &h); err != nil {
		return "", err
	}
	refused := (*transport.RejectError)(nil)
	switch {
	case h.Type != report.TypeProblemReport || h.ParentThreadID != p.ping.ID:
		return "", fmt.Errorf("the answer is %s", r.Layers[1].Headers)
	case h.From != "" || !errors.As(back.err, &refused) || !errors.Is(back.err, envelope.ErrSenderMismatch):
		return "", fmt.Errorf("a problem report from %q, of which our agent says: %v", h.From, back.err)
	}
	return "a problem report about it, on the connection; refused, since it is authcrypted and has no `from`", nil
}

// staysSilent: nothing comes back if nothing is to.
func (a *acapyAgent) staysSilent(ctx context.Context, t *testing.T) (string, error) {
	p, err := a.ping(ctx, t, "none")
	if err != nil {
		return "", err
	}
	select {
	case back := <-p.back:
		return "", fmt.Errorf("came back: %s", back.Data)
	default:
	}
	return "taken, no answer", nil
}

// failsWithoutService: didcomm-messaging wants a service of whom it packs for
// (routing.py, prepare_forward).
func (a *acapyAgent) failsWithoutService(ctx context.Context, t *testing.T) (string, error) {
	sealed, err := a.sealed(ctx, t)
	if err != nil {
		return "", err
	}
	status, body, err := a.post(ctx, sealed)
	if err != nil {
		return "", err
	}
	if status != http.StatusInternalServerError || !strings.Contains(body, "list index out of range") {
		return "", fmt.Errorf("without a service: %d %q", status, body)
	}
	return "status 500, \"list index out of range\": it answers none but DIDs with a service", nil
}

// takesAnything: a 2xx says nothing about the message.
func (a *acapyAgent) takesAnything(ctx context.Context, t *testing.T) (string, error) {
	sealed, err := a.sealed(ctx, t, did.QueueURI)
	if err != nil {
		return "", err
	}
	var jwe map[string]any
	if err := json.Unmarshal(sealed, &jwe); err != nil {
		return "", err
	}
	jwe["tag"] = strings.Repeat("A", 43)
	broken, err := json.Marshal(jwe)
	if err != nil {
		return "", err
	}
	status, body, err := a.post(ctx, broken)
	if err != nil {
		return "", err
	}
	if status != http.StatusOK || body != "" {
		return "", fmt.Errorf("a broken envelope: %d %q", status, body)
	}
	return "status 200, no answer: a 2xx proves nothing", nil
}

// sealed is a ping for the agent, with return_route, from a DID with those
// services.
func (a *acapyAgent) sealed(ctx context.Context, t *testing.T, services ...string) ([]byte, error) {
	them, err := a.did(ctx)
	if err != nil {
		return nil, err
	}
	us := agenttest.NewParty(t, services...)
	m, err := message.New(trustping.TypePing, trustping.PingBody{})
	if err != nil {
		return nil, err
	}
	m.ID, m.To, m.ReturnRoute = message.NewID(), []string{them}, "all"
	sealed, err := us.Packer.Pack(ctx, m, envelope.From(us.DID))
	if err != nil {
		return nil, err
	}
	return sealed[0].Data, nil
}

// post sends an envelope, whatever it is worth, and returns the answer.
func (a *acapyAgent) post(ctx context.Context, data []byte) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint, bytes.NewReader(data))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", transport.MediaTypeEncrypted)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}
