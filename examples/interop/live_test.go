//go:build interop

package interop_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// liveAgents is the chapter about agents of others that run by themselves and are
// reached over real sockets, on loopback.
type liveAgents struct {
	didcomm string // path of our own program

	mu     sync.Mutex
	agents map[string]*liveAgent
	notRun bool
}

// liveAgent is one of them: what was exchanged with it, in the order in which it
// is done.
type liveAgent struct {
	hello  peer.Hello
	talks  []talk
	notRun string
}

// talk is an exchange and what came of it.
type talk struct{ what, outcome string }

// TestLiveAgents exchanges messages with agents of others over HTTP and
// WebSocket.
func TestLiveAgents(t *testing.T) {
	t.Parallel()
	l := &liveAgents{agents: map[string]*liveAgent{}, didcomm: buildProgram(t)}
	t.Run("agents", func(t *testing.T) {
		t.Run("acapy", l.acapy)
		t.Run("credo-like", l.credoLike)
		t.Run("didcomm-messaging", l.didcommMessaging)
		t.Run("didcomm-python", l.didcommPython)
		t.Run("veramo", l.veramo)
	})
	results.chapter(chapter{title: "Live agents", text: l.text(), timed: l.notRun})
}

// agent begins the part of one agent; install says how it is had. One that cannot
// be had ends the test, and the table says why.
func (l *liveAgents) agent(t *testing.T, name string, install func(context.Context) error) *liveAgent {
	t.Helper()
	t.Parallel()
	a := &liveAgent{}
	l.mu.Lock()
	l.agents[name] = a
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	if err := install(ctx); err != nil {
		l.mu.Lock()
		l.notRun = true
		l.mu.Unlock()
		a.notRun, _, _ = strings.Cut(err.Error(), "\n")
		if !errors.Is(err, peer.ErrToolchain) || os.Getenv("CI") == "true" {
			t.Fatalf("%s%v", notRun, err)
		}
		t.Skipf("%s%v", notRun, err)
	}
	return a
}

// greet asks a program of the agent for its versions.
func (a *liveAgent) greet(t *testing.T, cfg peer.Config) {
	t.Helper()
	p := peer.New(cfg)
	defer p.Close()
	var err error
	if a.hello, err = p.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// talk runs one exchange as a test of its own. Its outcome stands in the table,
// where "yes" is all that one could wish.
func (a *liveAgent) talk(t *testing.T, what string, run func(ctx context.Context, t *testing.T) (outcome string, err error)) {
	t.Run(strings.ReplaceAll(what, " ", "_"), func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		outcome, err := run(ctx, t)
		if err != nil {
			t.Error(err)
			outcome = "no"
		}
		a.talks = append(a.talks, talk{what, outcome})
	})
}

// works is the run of an exchange that has nothing to tell.
func works(run func(ctx context.Context, t *testing.T) error) func(context.Context, *testing.T) (string, error) {
	return func(ctx context.Context, t *testing.T) (string, error) { return "yes", run(ctx, t) }
}

// text is the chapter in Markdown.
func (l *liveAgents) text() string {
	var b strings.Builder
	b.WriteString("Agents of other authors, with real sockets. \"On the connection\" is an answer by return_route. The agent credo-like is of this\n" +
		"suite, and behaves as Credo does; [The Credo fleet](#the-credo-fleet) says what that means for users.\n\n" +
		"| agent | exchange | |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(l.agents)) {
		a := l.agents[name]
		if a.notRun != "" {
			fmt.Fprintf(&b, "| %s | | %s%s |\n", name, notRun, a.notRun)
		}
		for _, k := range a.talks {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, k.what, k.outcome)
		}
	}
	b.WriteString("\n" + l.versions())
	return b.String()
}

// versions lists the packages of the agents.
func (l *liveAgents) versions() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l.agents)) {
		var packages []string
		for _, p := range slices.Sorted(maps.Keys(l.agents[name].hello.Versions)) {
			packages = append(packages, p+" "+l.agents[name].hello.Versions[p])
		}
		if len(packages) > 0 {
			fmt.Fprintf(&b, "- %s: %s\n", name, strings.Join(packages, ", "))
		}
	}
	return b.String()
}

// liveFolder is the folder of an agent's program and manifest, and with no name
// that of what they share.
func liveFolder(name string) string { return filepath.Join("peers", "live", name) }
