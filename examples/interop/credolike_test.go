package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
	"github.com/didcomm-go/didcomm/protocols/discover"
)

// credo is the agent of package credolike and our program, which exchange messages.
type credo struct {
	path string // of our program
	us   *served
}

// credoTalk is one line of the results.
type credoTalk struct {
	what string
	run  func(ctx context.Context, t *testing.T) (outcome string, err error)
}

// exchanges are all of them but storm, which takes its time.
func (c *credo) exchanges() []credoTalk {
	var all []credoTalk
	for _, scheme := range []string{"http", "ws"} {
		over := " over " + map[string]string{"http": "HTTP", "ws": "WebSocket"}[scheme]
		for _, e := range []struct {
			what    string
			outcome string
			run     func(ctx context.Context, t *testing.T, scheme string) error
		}{
			{"it pings us", "yes, `trust_ping/1.0`", c.pingsUs},
			{"didcomm ping", "yes, by `trust_ping/1.0` after its report about a ping of 2.0", c.pinged},
			{"it sends us a message", "yes", c.sendsUs},
			{"didcomm send", "yes, without an acknowledgement", c.sent},
			{"didcomm send --ack", "fails, although the message arrives: it gives no acknowledgement", c.unacknowledged},
			{"didcomm send to a reusable invitation, then to the DID of the answer", "yes", c.invited},
			{"it rotates, didcomm send to the new DID", "yes", c.rotates},
			{"it hangs up, didcomm send", "refused: it has ended the relation", c.hangsUp},
			{"it asks for our protocols", "yes, by `disclosures` after its report about `disclose`", c.queriesUs},
			{"we ask for its protocols", "yes", c.queried},
			{"its forward to us, behind a mediator of this library with one key", "yes", c.forwardsToUs},
			{"didcomm send to a client of its mediator", "yes, \"unconfirmed\"", c.sentByMediator},
		} {
			all = append(all, credoTalk{e.what + over, func(ctx context.Context, t *testing.T) (string, error) { return e.outcome, e.run(ctx, t, scheme) }})
		}
	}
	return append(all,
		credoTalk{"its forward to us, behind a mediator of this library with two keys over HTTP", c.forwardsTwice},
		credoTalk{"an envelope of didcomm pack --protect-sender over HTTP", c.protected},
		credoTalk{"our did:peer:4 by its short form over HTTP", c.shortForm},
	)
}

// storm begins an exchange of reports, which the agent would answer for ever: it reports our
// reports. The result waits for the rest of that time, and checks that each message of the
// agent had one report and that nothing came after.
func (c *credo) storm(t *testing.T, lasts time.Duration) func(ctx context.Context, t *testing.T) (string, error) {
	const messages = 3
	over := time.After(lasts)
	var peers []*credolike.Agent
	var failed error
	for _, scheme := range []string{"http", "ws"} {
		them := c.by(t, scheme)
		peers = append(peers, them)
		us, err := c.us.by(t.Context(), scheme)
		for i := range messages {
			if err == nil {
				m := credolike.Message{ID: message.NewID(), Type: fmt.Sprintf("https://example.org/unknown-%d/1.0/hello", i), Body: json.RawMessage("{}")}
				_, err = them.Send(t.Context(), us, m)
			}
		}
		failed = errors.Join(failed, err)
	}
	return func(ctx context.Context, _ *testing.T) (string, error) {
		outcome := "one report about each message, and silence"
		if failed != nil {
			return outcome, failed
		}
		for _, them := range peers {
			if err := until(ctx, func() error {
				if n := them.Sent(); n < 2*messages {
					return fmt.Errorf("the agent has sent %d messages", n)
				}
				return nil
			}); err != nil {
				return outcome, err
			}
		}
		select {
		case <-over:
		case <-ctx.Done():
			return outcome, ctx.Err()
		}
		for _, them := range peers {
			if got, sent := len(them.Received()), them.Sent(); got != messages || sent != 2*messages {
				return outcome, fmt.Errorf("the agent has received %d messages and sent %d, want %d and %d", got, sent, messages, 2*messages)
			}
		}
		return outcome, nil
	}
}

// them starts an agent that lists endpoints of one scheme.
func (c *credo) them(t *testing.T, cfg credolike.Config) *credolike.Agent {
	t.Helper()
	cfg.Delay = credoDelay
	a, err := credolike.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		if t.Failed() {
			t.Log("credo-like: ", a.Failures())
		}
	})
	return a
}

func (c *credo) by(t *testing.T, scheme string) *credolike.Agent {
	return c.them(t, credolike.Config{Schemes: []string{scheme}})
}

// stranger is our program with a home of its own that is empty.
func (c *credo) stranger(t *testing.T) program { return program{c.path, t.TempDir()} }

// on matches messages of a type and a thread.
func on(typ, thread string) func(credolike.Message) bool {
	return func(m credolike.Message) bool { return m.Type == typ && m.ThreadID == thread }
}

// saying matches a basic message.
func saying(s string) func(credolike.Message) bool {
	return func(m credolike.Message) bool {
		var body struct {
			Content string `json:"content"`
		}
		return m.Type == credolike.TypeBasicMessage && json.Unmarshal(m.Body, &body) == nil && body.Content == s
	}
}

func (c *credo) pingsUs(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	us, err := c.us.by(ctx, scheme)
	if err != nil {
		return err
	}
	id, err := them.Ping(ctx, us)
	if err != nil {
		return err
	}
	m, err := them.Wait(ctx, on(credolike.TypePingResponse, id))
	if err != nil {
		return err
	}
	if m.From != us {
		return fmt.Errorf("the response is from %s", m.From)
	}
	return nil
}

func (c *credo) pinged(ctx context.Context, t *testing.T, scheme string) error {
	for _, numalgo := range []int{4, 2} {
		them := c.them(t, credolike.Config{Schemes: []string{scheme}, Numalgo: numalgo})
		out, _, err := c.stranger(t).run(ctx, "ping", "--count", "2", them.Invitation())
		if err != nil {
			return err
		}
		if !strings.HasPrefix(out, "answer 1 from ") || !strings.Contains(out, "2 pings, 2 answers") {
			return fmt.Errorf("didcomm ping says %q", out)
		}
		if _, err := them.Wait(ctx, func(m credolike.Message) bool { return m.Type == credolike.TypePing }); err != nil {
			return err
		}
	}
	return nil
}

func (c *credo) sendsUs(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	us, err := c.us.by(ctx, scheme)
	if err != nil {
		return err
	}
	said := "from it by " + scheme
	if _, err := them.Say(ctx, us, said); err != nil {
		return err
	}
	return c.us.says(ctx, said)
}

func (c *credo) sent(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	for i, from := range []program{c.us.program, c.stranger(t)} {
		said := fmt.Sprint("to it ", i)
		if _, _, err := from.run(ctx, "send", "--timeout", "4s", them.Invitation(), said); err != nil {
			return err
		}
		if _, err := them.Wait(ctx, saying(said)); err != nil {
			return err
		}
	}
	return nil
}

func (c *credo) unacknowledged(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	if _, _, err := c.us.run(ctx, "send", "--ack", "--timeout", "2s", them.Invitation(), "acknowledge this"); err == nil {
		return errors.New("didcomm send --ack has an acknowledgement")
	}
	_, err := them.Wait(ctx, saying("acknowledge this"))
	return err
}

// invited: the agent answers from a new DID. Its message by a key of that DID moves the contact.
func (c *credo) invited(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	hello := "to the invitation by " + scheme
	if _, _, err := c.us.run(ctx, "send", them.Invitation(), hello); err != nil {
		return err
	}
	first, err := them.Wait(ctx, saying(hello))
	if err != nil {
		return err
	}
	said := "after the invitation by " + scheme
	if _, err := them.Say(ctx, first.From, said); err != nil {
		return err
	}
	if err := c.us.says(ctx, said); err != nil {
		return err
	}
	id, err := them.Ping(ctx, first.From)
	if err != nil {
		return err
	}
	m, err := them.Wait(ctx, on(credolike.TypePingResponse, id))
	if err != nil {
		return err
	}
	if len(m.To) != 1 || m.To[0] == them.Invitation() {
		return fmt.Errorf("the response is to %q, not to the new DID", m.To)
	}
	answer := "to the new DID by " + scheme
	if _, _, err := c.us.run(ctx, "send", m.To[0], answer); err != nil {
		return err
	}
	m, err = them.Wait(ctx, saying(answer))
	if err != nil {
		return err
	}
	if m.From != first.From {
		return fmt.Errorf("the message is from %s, not from the DID that the agent knows", m.From)
	}
	// By WebSocket, it has written by keys of the former DID alone: the contact stays there.
	contact := them.Invitation()
	if scheme == "http" {
		contact = m.To[0]
	}
	if err := until(ctx, func() error {
		known, _, err := c.us.run(ctx, "peer", them.Invitation())
		for _, want := range []string{contact, "trust_ping/1.0", "acks:   no"} {
			if err == nil && !strings.Contains(known, want) {
				err = fmt.Errorf("didcomm peer does not say %q: %q", want, known)
			}
		}
		return err
	}); err != nil {
		return err
	}
	if _, _, err := c.us.run(ctx, "send", "--ack", "--timeout", "10m", contact, "no acknowledgement"); err == nil || !strings.Contains(err.Error(), "acknowledges no messages") {
		return fmt.Errorf("didcomm send --ack to an agent that is known to acknowledge nothing: %v", err)
	}
	return nil
}

func (c *credo) rotates(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	us, err := c.us.by(ctx, scheme)
	if err != nil {
		return err
	}
	said := "before the rotation by " + scheme
	if _, err := them.Say(ctx, us, said); err != nil {
		return err
	}
	if err := c.us.says(ctx, said); err != nil {
		return err
	}
	next, err := them.Rotate(ctx, us)
	if err != nil {
		return err
	}
	said = "after the rotation by " + scheme
	if _, err := them.Say(ctx, us, said); err != nil {
		return err
	}
	if err := c.us.says(ctx, said); err != nil {
		return err
	}
	id, err := them.Ping(ctx, us)
	if err != nil {
		return err
	}
	m, err := them.Wait(ctx, on(credolike.TypePingResponse, id))
	if err != nil {
		return err
	}
	if !slices.Equal(m.To, []string{next}) {
		return fmt.Errorf("the response is to %q", m.To)
	}
	if _, _, err := c.us.run(ctx, "send", "--from", us, next, said); err != nil {
		return err
	}
	_, err = them.Wait(ctx, saying(said))
	return err
}

func (c *credo) hangsUp(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	us, err := c.us.by(ctx, scheme)
	if err != nil {
		return err
	}
	id, err := them.Ping(ctx, us)
	if err != nil {
		return err
	}
	m, err := them.Wait(ctx, on(credolike.TypePingResponse, id))
	if err != nil {
		return err
	}
	if _, _, err := c.us.run(ctx, "send", "--from", us, m.To[0], "we are in touch"); err != nil {
		return err
	}
	if _, err := them.Wait(ctx, saying("we are in touch")); err != nil {
		return err
	}
	if err := them.HangUp(ctx, us); err != nil {
		return err
	}
	return until(ctx, func() error {
		_, _, err := c.us.run(ctx, "send", "--no-queue", "--timeout", "2s", "--from", us, m.To[0], "still there?")
		if err == nil || !strings.Contains(err.Error(), "has ended the relationship") {
			return fmt.Errorf("didcomm send to a party that has hung up: %v", err)
		}
		return nil
	})
}

func (c *credo) queriesUs(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	us, err := c.us.by(ctx, scheme)
	if err != nil {
		return err
	}
	id, err := them.Query(ctx, us)
	if err != nil {
		return err
	}
	m, err := them.Wait(ctx, on(credolike.TypeDisclosures, id))
	if err != nil {
		return err
	}
	for _, want := range []string{"https://didcomm.org/basicmessage/2.0", "https://didcomm.org/trust_ping/1.0"} {
		if !strings.Contains(string(m.Body), `"`+want+`"`) {
			return fmt.Errorf("no %s in %s", want, m.Body)
		}
	}
	return nil
}

func (c *credo) queried(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	way := agenttest.HTTP()
	if scheme == "ws" {
		way = agenttest.WebSocket()
	}
	us := agenttest.NewNet().Agent(t, nil, way)
	features, err := discover.Ask(ctx, us, them.Invitation(), discover.Query{FeatureType: discover.Protocol, Match: "*"})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(features, func(d discover.Disclosure) bool { return d.ID == "https://didcomm.org/trust_ping/1.0" }) {
		return fmt.Errorf("it discloses %v", features)
	}
	return nil
}
