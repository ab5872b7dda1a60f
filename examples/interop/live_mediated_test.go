//go:build interop

package interop_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// TestMediation has clients of others behind our mediator.
func TestMediation(t *testing.T) {
	t.Parallel()
	l := &liveAgents{agents: map[string]*liveAgent{}, didcomm: buildProgram(t)}
	t.Run("clients", func(t *testing.T) {
		t.Run("identus", l.identus)
		t.Run("quickstart", l.quickstart)
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
	a.clientTalks(t, newMediated(t, cfg, m, true), "live")
}

func (l *liveAgents) quickstart(t *testing.T) {
	var cfg peer.Config
	a := l.agent(t, "quickstart", installQuickstart(&cfg))
	m := startMediator(t, l.didcomm)
	a.clientTalks(t, newMediated(t, cfg, m, ""), "by polling")
	a.clientTalks(t, newMediated(t, cfg, m, "wrapped"), "live")
	a.clientTalks(t, newMediated(t, cfg, m, "raw"), "live, raw pushes")
}
