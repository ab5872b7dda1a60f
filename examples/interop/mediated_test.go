//go:build interop

package interop_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// mediated is an agent of others behind our mediator.
type mediated struct {
	t        *testing.T
	cfg      peer.Config
	mediator *served
	sender   program // didcomm send
	state    string  // path of what the agent keeps
	live     any     // how it picks up, as its program calls that
	stays    string  // why it does not come back by itself after the mediator was killed

	process *peer.Process
	did     string
	sent    []string // what it has to get
	got     []string // what it has got
}

// newMediated describes an agent. start starts it.
func newMediated(t *testing.T, cfg peer.Config, m *served, live any) *mediated {
	return &mediated{t: t, cfg: cfg, mediator: m, sender: program{m.path, t.TempDir()}, state: filepath.Join(t.TempDir(), "state"), live: live}
}

// start starts the agent, which enrolls, or goes on as it was.
func (c *mediated) start(ctx context.Context) error {
	c.process = peer.New(c.cfg)
	c.t.Cleanup(c.process.Close)
	var r peer.DIDResult
	params := map[string]any{"state": c.state, "mediator": c.mediator.did, "live": c.live}
	if err := c.process.Call(ctx, "start", params, &r); err != nil {
		return err
	}
	if c.did != "" && c.did != r.DID {
		return fmt.Errorf("the agent has become %s", r.DID)
	}
	c.did = r.DID
	return nil
}

func (c *mediated) stop() { c.process.Close() }

// is sent messages by didcomm send.
func (c *mediated) is(ctx context.Context, contents ...string) error {
	for _, content := range contents {
		if _, _, err := c.sender.run(ctx, "send", c.did, content); err != nil {
			return err
		}
		c.sent = append(c.sent, content)
	}
	return nil
}

// gets waits until the agent has got what it was sent, and nothing else and nothing twice.
func (c *mediated) gets(ctx context.Context) error {
	for len(c.got) < len(c.sent) {
		if err := c.take(ctx, len(c.sent)-len(c.got)); err != nil {
			return fmt.Errorf("%w; it has %q of %q", err, c.got, c.sent)
		}
	}
	a, b := slices.Sorted(slices.Values(c.got)), slices.Sorted(slices.Values(c.sent))
	if !slices.Equal(a, b) {
		return fmt.Errorf("it has got %q, not %q", a, b)
	}
	return nil
}

// take waits for that many messages.
func (c *mediated) take(ctx context.Context, count int) error {
	var r struct {
		Received []struct {
			Type string          `json:"type"`
			Body json.RawMessage `json:"body"`
		} `json:"received"`
	}
	if err := c.process.Call(ctx, "received", map[string]int{"count": count}, &r); err != nil {
		return err
	}
	for _, m := range r.Received {
		var body struct {
			Content string `json:"content"`
		}
		if err := json.Unmarshal(m.Body, &body); err != nil || !strings.HasSuffix(m.Type, "/message") {
			c.got = append(c.got, m.Type+" "+string(m.Body))
			continue
		}
		c.got = append(c.got, body.Content)
	}
	return nil
}

// says sends a message to another agent.
func (c *mediated) says(ctx context.Context, to *mediated, content string) error {
	if err := c.process.Call(ctx, "send", map[string]string{"to": to.did, "content": content}, new(struct{})); err != nil {
		return err
	}
	to.sent = append(to.sent, content)
	return nil
}

// talks are the exchanges of the agent as a client of our mediator.
func (c *mediated) talks(t *testing.T, a *liveAgent, how string) {
	a.talk(t, how+": enrolls, and takes what comes", works(func(ctx context.Context, _ *testing.T) error {
		return errors.Join(c.start(ctx), c.is(ctx, "1", "2"), c.gets(ctx))
	}))
	a.talk(t, how+": takes what came while it was away", works(func(ctx context.Context, _ *testing.T) error {
		c.stop()
		return errors.Join(c.is(ctx, "3", "4"), c.start(ctx), c.gets(ctx))
	}))
	a.talk(t, how+": takes what came before the mediator was killed", works(func(ctx context.Context, t *testing.T) error {
		c.stop()
		return errors.Join(c.is(ctx, "5", "6"), c.mediator.restart(t), c.start(ctx), c.gets(ctx))
	}))
	a.talk(t, how+": takes what comes after a message that it cannot open", works(func(ctx context.Context, t *testing.T) error {
		return errors.Join(c.mediator.forwardJunk(ctx, t, c.did), c.is(ctx, "7", "8"), c.gets(ctx))
	}))
	a.talk(t, how+": goes on when the mediator was killed", func(ctx context.Context, t *testing.T) (string, error) {
		c.mediator.kill()
		if c.stays == "" {
			if err := missed(ctx, c.mediator); err != nil {
				return "", err
			}
		}
		err := errors.Join(c.mediator.start(t), c.is(ctx, "9"))
		if c.stays != "" {
			c.stop()
			err = errors.Join(err, c.start(ctx))
		}
		// The last one shows whether any other came twice.
		return cmp.Or(c.stays, "yes"), errors.Join(err, c.gets(ctx), c.is(ctx, "10"), c.gets(ctx))
	})
}

// missed waits for a client that wants to connect to a mediator which is away.
func missed(ctx context.Context, mediator *served) error {
	u, err := url.Parse(mediator.url)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	return errors.Join(conn.Close(), l.Close())
}
