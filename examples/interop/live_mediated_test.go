//go:build interop

package interop_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// TestMediation has clients of others behind our mediator.
func TestMediation(t *testing.T) {
	t.Parallel()
	l := &liveAgents{agents: map[string]*liveAgent{}, didcomm: buildProgram(t)}
	t.Run("clients", func(t *testing.T) {
		t.Run("credo-like", func(t *testing.T) {
			a := l.agent(t, "credo-like", func(context.Context) error { return nil })
			for _, e := range (&credo{path: l.didcomm}).mediations() {
				a.talk(t, e.what, e.run)
			}
		})
		t.Run("identus", l.identus)
		t.Run("quickstart", l.quickstart)
		t.Run("both", l.both)
	})
	results.chapter(chapter{title: "Mediation", text: l.text(), timed: l.notRun})
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
		*cfg = peer.Config{Path: node, Args: []string{filepath.Join(dir, "agent.mjs")}, Starts: 1}
		return err
	}
}

func installQuickstart(cfg *peer.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		var python string
		err := installPython("quickstart", 11, 13, &python)(ctx)
		*cfg = peer.Config{Path: python, Args: []string{"-B", filepath.Join(liveFolder("quickstart"), "main.py")}, Starts: 1}
		return err
	}
}

func (l *liveAgents) identus(t *testing.T) {
	var cfg peer.Config
	a := l.agent(t, "identus", installIdentus(&cfg))
	m := startMediator(t, l.didcomm)
	a.clientTalks(t, newMediated(t, cfg, m, false), "by polling")
	live := newMediated(t, cfg, m, true)
	live.stays = "after a restart of its own: it opens its WebSocket once"
	a.clientTalks(t, live, "live")
}

func (l *liveAgents) quickstart(t *testing.T) {
	var cfg peer.Config
	a := l.agent(t, "quickstart", installQuickstart(&cfg))
	m := startMediator(t, l.didcomm)
	a.clientTalks(t, newMediated(t, cfg, m, ""), "by polling")
	a.clientTalks(t, newMediated(t, cfg, m, "wrapped"), "live")
	a.clientTalks(t, newMediated(t, cfg, m, "raw"), "live, raw pushes")
}

// both has an exchange of the two, with the mediator between them.
func (l *liveAgents) both(t *testing.T) {
	var identus, quickstart peer.Config
	a := l.agent(t, "identus and quickstart", func(ctx context.Context) error {
		return errors.Join(installIdentus(&identus)(ctx), installQuickstart(&quickstart)(ctx))
	})
	m := startMediator(t, l.didcomm)
	i, q := newMediated(t, identus, m, true), newMediated(t, quickstart, m, "wrapped")
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
		return "no: quickstart wants `accept` in the service of a DID, and the SDK writes an empty list", nil
	})
}
