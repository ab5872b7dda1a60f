package credolike_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
)

// start starts an agent for the test. Its delay is short.
func start(t *testing.T, cfg credolike.Config) *credolike.Agent {
	t.Helper()
	cfg.Delay = 20 * time.Millisecond
	a, err := credolike.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// await waits for a message of a type.
func await(t *testing.T, a *credolike.Agent, typ string) credolike.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := a.Wait(ctx, func(m credolike.Message) bool { return m.Type == typ })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Two of them talk, over both transports, with both kinds of DIDs and through a mediator.
func TestTalk(t *testing.T) {
	mediator := start(t, credolike.Config{})
	for name, cfg := range map[string]credolike.Config{
		"HTTP":                    {Schemes: []string{"http"}},
		"WebSocket":               {Schemes: []string{"ws"}},
		"did:peer:2":              {Numalgo: 2},
		"mediated":                {Mediator: mediator.Invitation()},
		"mediated, by did:peer:2": {Mediator: mediator.Invitation(), Numalgo: 2},
		"mediated, live":          {Mediator: mediator.Invitation(), Live: true},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := start(t, cfg), start(t, cfg)
			id, err := alice.Ping(t.Context(), bob.Invitation())
			if err != nil {
				t.Fatal(err)
			}
			pong := await(t, alice, credolike.TypePingResponse)
			if pong.ThreadID != id || pong.From == bob.Invitation() || pong.FromPrior == "" {
				t.Errorf("the response is %+v", pong)
			}
			if _, err := alice.Say(t.Context(), pong.From, "hello"); err != nil {
				t.Fatal(err)
			}
			if m := await(t, bob, credolike.TypeBasicMessage); string(m.Body) != `{"content":"hello"}` {
				t.Errorf("bob has %+v", m)
			}
			if _, err := alice.Query(t.Context(), pong.From); err != nil {
				t.Fatal(err)
			}
			answer := await(t, alice, credolike.TypeDisclosures)
			if answer.FromPrior != "" || !bytes.Contains(answer.Body, []byte("trust_ping/1.0")) {
				t.Errorf("the answer is %+v, though bob knows that alice knows", answer)
			}
			next, err := bob.Rotate(t.Context(), pong.To[0])
			if err != nil {
				t.Fatal(err)
			}
			if m := await(t, alice, credolike.TypeEmpty); m.From != next || m.FromPrior == "" {
				t.Errorf("the rotation is %+v", m)
			}
			if _, err := alice.Send(t.Context(), next, credolike.Message{ID: "1", Type: "https://example.org/unknown/1.0/x"}); err != nil {
				t.Fatal(err)
			}
			if m := await(t, alice, credolike.TypeReport); m.ParentThreadID != "1" || m.ThreadID != "" || m.FromPrior != "" {
				t.Errorf("the report is %+v", m)
			}
			if err := bob.HangUp(t.Context(), pong.To[0]); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := alice.Wait(ctx, func(m credolike.Message) bool { return m.From == "" && m.FromPrior != "" }); err != nil {
				t.Error(err)
			}
			for _, a := range []*credolike.Agent{alice, bob, mediator} {
				if err := a.Failures(); len(err) > 0 {
					t.Error(err)
				}
			}
		})
	}
}

// The agent refuses a message that it does not take with Credo's statuses, each time again.
func TestStatus(t *testing.T) {
	a := start(t, credolike.Config{})
	for _, c := range []struct {
		mediaType, body string
		want            int
	}{
		{"application/didcomm-encrypted+json", "{}", http.StatusUnsupportedMediaType},
		{"application/didcomm-envelope-enc; charset=utf-8", "{}", http.StatusUnsupportedMediaType},
		{"Application/DIDComm-Envelope-Enc", "{}", http.StatusUnsupportedMediaType},
		{"", "{}", http.StatusUnsupportedMediaType},
		{"application/didcomm-envelope-enc", "{", http.StatusInternalServerError},
		{"application/didcomm-envelope-enc", "{}", http.StatusInternalServerError},
		{"application/ssi-agent-wire", "{}", http.StatusInternalServerError},
		{"application/didcomm-envelope-enc", strings.Repeat(" ", 6<<20), http.StatusInternalServerError},
	} {
		for range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL("http"), strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", c.mediaType)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("%s: %s: %d, want %d", c.mediaType, c.body[:min(len(c.body), 2)], resp.StatusCode, c.want)
			}
		}
	}
}
