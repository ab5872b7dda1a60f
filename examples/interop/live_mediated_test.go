//go:build interop

package interop_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// mediation is the chapter about mediators and their clients.
type mediation struct {
	liveAgents

	adding sync.Mutex // guards rows
	rows   []mediationRow
}

// mediationRow is a client with a mediator, in one way to pick up.
type mediationRow struct {
	client, mediator, enrolls, picksUp, how string
	talks                                   []talk
}

const (
	ourMediator = "didcomm serve --mediator"
	ourClient   = "didcomm serve --via"
	coordinate2 = "coordinate-mediation 2.0"
	coordinate3 = "coordinate-mediation 3.0"
	pickup3     = "messagepickup 3.0"
	pickup4     = "message-pickup 4.0"
)

// TestMediation has agents of others behind our mediator, and our agent behind credo-like.
func TestMediation(t *testing.T) {
	t.Parallel()
	m := &mediation{liveAgents: liveAgents{agents: map[string]*liveAgent{}, didcomm: buildProgram(t)}}
	t.Run("agents", func(t *testing.T) {
		t.Run("credo-like", m.credoLike)
		t.Run("identus", m.identus)
		t.Run("quickstart", m.quickstart)
	})
	t.Run("pairs", func(t *testing.T) { t.Run("identus and quickstart", m.both) })
	results.chapter(chapter{title: "Mediation", text: m.text(), timed: m.notRun})
}

// row notes the talks that run has with an agent.
func (m *mediation) row(a *liveAgent, r mediationRow, run func()) {
	before := len(a.talks)
	run()
	r.talks = a.talks[before:]
	m.adding.Lock()
	defer m.adding.Unlock()
	m.rows = append(m.rows, r)
}

// text is the chapter in Markdown.
func (m *mediation) text() string {
	slices.SortFunc(m.rows, func(r, s mediationRow) int {
		return cmp.Or(cmp.Compare(r.client, s.client), cmp.Compare(r.mediator, s.mediator), cmp.Compare(r.how, s.how))
	})
	var b strings.Builder
	b.WriteString("Who enrolls with whom, and who picks up how. \"Works\" means that the client enrolls, and that it takes what comes, what came while\n" +
		"it was away, and what came before the mediator was killed; that a message that it cannot open does not hold up the others; that\n" +
		"it goes on when the mediator was killed; and that nothing is lost and nothing comes twice. identus and quickstart are agents of\n" +
		"other authors. credo-like is of this suite, and behaves as Credo does.\n\n" +
		"| client | mediator | enrolls by | picks up by | | |\n|---|---|---|---|---|---|\n")
	for _, r := range m.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.client, r.mediator, r.enrolls, r.picksUp, r.how, r.outcome())
	}
	for _, name := range []string{"identus", "quickstart", "identus and quickstart"} {
		if a := m.agents[name]; a != nil && a.notRun != "" {
			fmt.Fprintf(&b, "| %s | | | | | %s%s |\n", name, notRun, a.notRun)
		}
	}
	b.WriteString("\nClients of our mediator send to each other:\n\n| from | to | |\n|---|---|---|\n")
	if a := m.agents["identus and quickstart"]; a != nil {
		for _, k := range a.talks {
			from, to, _ := strings.Cut(k.what, " sends to ")
			fmt.Fprintf(&b, "| %s | %s | %s |\n", from, to, k.outcome)
		}
	}
	b.WriteString("\nAffinidi's mediator (crate affinidi-messaging-mediator 0.49.0) needs a login of its own, and has no coordinate-mediation. Messages made\n" +
		"from its source are read: the single requests of package pickup collect, if they name the recipient_did. The suite does not run it.\n\n" + m.versions())
	return b.String()
}

// outcome says what one could wish otherwise.
func (r mediationRow) outcome() string {
	text := "works"
	for _, k := range r.talks {
		if k.outcome != "yes" {
			_, what, _ := strings.Cut(k.what, ": ")
			text += ", but " + what + " " + k.outcome
		}
	}
	return text
}

func (m *mediation) credoLike(t *testing.T) {
	a := m.agent(t, "credo-like", func(context.Context) error { return nil })
	for _, e := range (&credo{path: m.didcomm}).mediations() {
		r := mediationRow{client: "credo-like", mediator: ourMediator, enrolls: coordinate2, picksUp: pickup4, how: e.how}
		if e.mediates {
			r.client, r.mediator = ourClient, "credo-like"
		}
		m.row(a, r, func() { a.talk(t, e.String(), works(e.run)) })
	}
	m.row(a, mediationRow{client: ourClient, mediator: ourMediator, enrolls: coordinate3, picksUp: pickup4, how: "live"}, func() {
		a.talk(t, "both ours: live", works(func(ctx context.Context, t *testing.T) error {
			c := &credo{path: m.didcomm}
			return c.collects(ctx, t, startMediator(t, m.didcomm).did)
		}))
	})
}

func installIdentus(cfg *peer.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		where, err := cache()
		if err != nil {
			return err
		}
		node, dir, err := peer.Node(ctx, peer.NodeConfig{
			Name: "live-identus",
			Files: []string{
				filepath.Join(liveFolder("identus"), "package.json"),
				filepath.Join(liveFolder("identus"), "agent.mjs"),
				filepath.Join("peers", "lines.mjs"),
			},
			Cache:  where,
			Oldest: 20,
		})
		*cfg = peer.Config{Path: node, Args: []string{filepath.Join(dir, "agent.mjs")}, Starts: 1, Timeout: time.Minute}
		return err
	}
}

func installQuickstart(cfg *peer.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		var python string
		err := installPython("quickstart", 11, 13, &python)(ctx)
		*cfg = peer.Config{Path: python, Args: []string{"-B", filepath.Join(liveFolder("quickstart"), "main.py")}, Starts: 1, Timeout: time.Minute}
		return err
	}
}

func (m *mediation) identus(t *testing.T) {
	var cfg peer.Config
	a := m.agent(t, "identus", installIdentus(&cfg))
	a.greet(t, cfg)
	mediator := startMediator(t, m.didcomm)
	for _, live := range []bool{false, true} {
		c, how := newMediated(t, cfg, mediator, live), "polled"
		c.stays = "only after a restart of its own: a failed poll ends the program"
		if live {
			how, c.stays = "live", "only after a restart of its own: it opens its WebSocket once"
		}
		m.row(a, mediationRow{client: "identus", mediator: ourMediator, enrolls: coordinate2, picksUp: pickup3, how: how},
			func() { c.talks(t, a, how) })
	}
}

func (m *mediation) quickstart(t *testing.T) {
	var cfg peer.Config
	a := m.agent(t, "quickstart", installQuickstart(&cfg))
	a.greet(t, cfg)
	mediator := startMediator(t, m.didcomm)
	for _, way := range []struct{ live, how string }{{"", "polled"}, {"wrapped", "live, with a handler of its own"}, {"raw", "live, raw pushes"}} {
		c := newMediated(t, cfg, mediator, way.live)
		m.row(a, mediationRow{client: "quickstart", mediator: ourMediator, enrolls: coordinate3, picksUp: pickup3, how: way.how},
			func() { c.talks(t, a, way.how) })
	}
}

// both has an exchange of the two, with the mediator between them.
func (m *mediation) both(t *testing.T) {
	const name = "identus and quickstart"
	var identus, quickstart peer.Config
	a := m.agent(t, name, func(ctx context.Context) error {
		return errors.Join(installIdentus(&identus)(ctx), installQuickstart(&quickstart)(ctx))
	})
	mediator := startMediator(t, m.didcomm)
	i, q := newMediated(t, identus, mediator, true), newMediated(t, quickstart, mediator, "wrapped")
	if err := errors.Join(i.start(t.Context()), q.start(t.Context())); err != nil {
		t.Fatal(err)
	}
	a.talk(t, "identus sends to quickstart", works(func(ctx context.Context, _ *testing.T) error {
		return errors.Join(i.says(ctx, q, "hello"), q.gets(ctx))
	}))
	a.talk(t, "quickstart sends to identus", func(ctx context.Context, _ *testing.T) (string, error) {
		err := q.says(ctx, i, "hello")
		if refused := (*peer.RefusedError)(nil); !errors.As(err, &refused) || refused.Type != "IndexError" {
			return "", fmt.Errorf("quickstart sends to a DID of the SDK: %v", err)
		}
		return "no: quickstart wants `accept` in the service of a DID, and identus writes an empty list", nil
	})
}
