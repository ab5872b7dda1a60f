//go:build interop

package interop_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

var speed = flag.Bool("speed", false, "time all peers at length and write SPEED.md, and its figures in README.md")

// ours is this library's program, which is timed like those of the peers.
const ours = "didcomm-go"

// contestant is a program that is timed.
type contestant struct {
	*peer.Process
	name  string
	hello peer.Hello
}

// contest is one operation, on one message in one layout, by all who share it.
type contest struct {
	layout
	verb  string // pack or unpack
	times map[string]*timing
}

// timing is what a contestant's operation took.
type timing struct {
	contestant
	params peer.BenchParams
	each   []time.Duration // of one operation, a round each
}

// TestSpeed times packing and opening 1 KiB, round by round, all programs in
// turn: what the process took of the processors for one operation. Without
// -speed it sees only that every program can be timed.
func TestSpeed(t *testing.T) {
	rounds, length := 1, time.Millisecond
	if *speed {
		rounds, length = 9, 30*time.Millisecond
	}
	contestants := contestants(t)
	var contests []contest
	for _, l := range speedLayouts() {
		contests = append(contests, newContests(t, l, contestants)...)
	}
	for range rounds {
		for _, c := range contests {
			for _, name := range slices.Sorted(maps.Keys(c.times)) {
				if err := c.times[name].round(t.Context(), length); err != nil {
					t.Fatalf("%s, %s by %s: %v", c, c.verb, name, err)
				}
			}
		}
	}
	if !*speed {
		return
	}
	page := speedPage(contests, contestants, rounds, time.Now())
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	front, err := withExcerpt(string(readme), string(page))
	if err := errors.Join(err, os.WriteFile("SPEED.md", page, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("README.md", []byte(front), 0o644); err != nil {
		t.Fatal(err)
	}
}

// contestants starts all programs; a peer that cannot be had is left out, which
// its own test judges.
func contestants(t *testing.T) []contestant {
	t.Helper()
	var all []contestant
	start := func(name string, install func(ctx context.Context) (peer.Config, error)) {
		ctx, cancel := context.WithTimeout(t.Context(), installTime)
		defer cancel()
		cfg, err := install(ctx)
		if errors.Is(err, peer.ErrToolchain) || errors.Is(err, peer.ErrArtifact) {
			t.Logf("%s is not timed: %v", name, err)
			return
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// One thread, in Go too.
		cfg.Env = append(os.Environ(), "GOMAXPROCS=1")
		c := contestant{Process: peer.New(cfg), name: name}
		t.Cleanup(c.Close)
		if c.hello, err = c.Hello(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, c)
	}
	tmp := t.TempDir()
	start(ours, goPeer(ours, tmp))
	start("affinidi", rustPeer("affinidi", 95))
	start(mayMiss, jvmPeer(mayMiss, "org.didcommx:didcomm"))
	start("didcomm-messaging", pythonPeer("didcomm-messaging", 10, 13))
	start("didcomm-node", nodePeer("didcomm-node"))
	start("didcomm-python", pythonPeer("didcomm-python", 9, 11))
	start("didcomm-rust", rustPeer("didcomm-rust", 85))
	start("go-jose", goPeer("go-jose", tmp))
	start("veramo", nodePeer("veramo"))
	return all
}

// speedLayouts are all modes and curves with one key. What anoncrypt encrypts
// with is chosen where it stands alone, and the signature where that does.
func speedLayouts() []layout {
	return slices.DeleteFunc(layouts(), func(l layout) bool {
		alone := l.name == "anoncrypt" || l.name == "signed"
		return l.keys.listed > 1 || !alone && (l.enc != "" && l.enc != envelope.A256CBCHS512 || l.alg != "" && l.alg != "EdDSA")
	})
}

// newContests makes a message, and finds who can pack it so that we open it, and
// who opens it as we pack it.
func newContests(t *testing.T, l layout, contestants []contestant) []contest {
	t.Helper()
	x := newExchange(t, l)
	from := x.message.From
	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", map[string]string{"content": strings.Repeat(rand.Text(), 40)[:1<<10]})
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To, m.CreatedTime = from, []string{x.recipient.DID()}, time.Now()
	x.message = m
	sealed, err := x.pack(t)
	if err != nil {
		t.Fatal(err)
	}
	pack := peer.BenchParams{PackParams: x.params(t)}
	unpack := pack
	unpack.Known, unpack.Envelope = known(t, x.recipient, x.sender), sealed.Data
	packing, opening := contest{l, "pack", map[string]*timing{}}, contest{l, "unpack", map[string]*timing{}}
	for _, c := range contestants {
		mine := c.name == ours
		if mine || c.packs(t, x) {
			packing.times[c.name] = &timing{contestant: c, params: pack}
		}
		if mine || c.opens(t, x, unpack) {
			opening.times[c.name] = &timing{contestant: c, params: unpack}
		}
	}
	return []contest{packing, opening}
}

// packs tells whether what the contestant packs is what we would.
func (c contestant) packs(t *testing.T, x exchange) bool {
	t.Helper()
	packed, err := c.Pack(t.Context(), x.params(t))
	if err != nil {
		return false
	}
	got, err := packer(t, x.recipient, x.sender).Unpack(t.Context(), packed.Envelope)
	return err == nil && sameMessage(plaintext(t, x.message), plaintext(t, got.Message)) == nil && sameMetadata(x.metadata(), got.Metadata) == nil
}

// opens tells whether the contestant opens what we pack.
func (c contestant) opens(t *testing.T, x exchange, params peer.BenchParams) bool {
	t.Helper()
	got, err := c.Unpack(t.Context(), peer.UnpackParams{Known: params.Known, Envelope: params.Envelope})
	return err == nil && sameMessage(plaintext(t, x.message), got.Message) == nil
}

// round times the operation for about that long. The first round begins with
// some that only warm up and tell how many there are to a round.
func (g *timing) round(ctx context.Context, length time.Duration) error {
	for g.each == nil {
		had := max(g.params.Times, 1)
		g.params.Times = had
		r, err := g.Bench(ctx, g.params)
		if err != nil {
			return err
		}
		if took := time.Duration(r.Nanoseconds); took >= length/2 {
			g.params.Times = max(1, int(length*time.Duration(had)/took))
			break
		}
		g.params.Times = 4 * had
	}
	r, err := g.Bench(ctx, g.params)
	g.each = append(g.each, time.Duration(r.Nanoseconds)/time.Duration(g.params.Times))
	return err
}

// String is the layout without the number of keys, which is one.
func (c contest) String() string {
	c.layout.keys = keys{}
	return c.layout.String()
}

// median is the contestant's median over the rounds.
func (c contest) median(name string) time.Duration {
	each := slices.Sorted(slices.Values(c.times[name].each))
	return each[len(each)/2]
}

// ratio is what a contestant takes, divided by what we do.
func (c contest) ratio(name string) float64 {
	return float64(c.median(name)) / float64(c.median(ours))
}

// speedPage is SPEED.md.
func speedPage(contests []contest, contestants []contestant, rounds int, now time.Time) []byte {
	var b bytes.Buffer
	b.WriteString("# Packing and opening, all libraries in one run\n\n" +
		"Generated by `go test -tags interop -run TestSpeed ./examples/interop -speed`; do not edit.\n\n" +
		"The message has a body of 1 KiB, for one key. Keys, documents and message are parsed once. All libraries run in one thread.\n" +
		"Each number is the processor time that the process of a library takes for one operation, divided by the time of didcomm-go.\n" +
		"If the number is above 1, the library is slower. \"-\": the library does not have the combination, or its envelopes do not open\n" +
		"elsewhere. All libraries open the same envelope, which didcomm-go has packed.\n\n")
	fmt.Fprintf(&b, "Medians of %d rounds in which the libraries took turns, on %s, %s/%s.\n\n", rounds, now.UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH)
	for _, c := range contestants {
		versions := (&row{hello: c.hello}).packages()
		if c.name == ours {
			versions = c.hello.Language + ", garbage collection included"
		}
		fmt.Fprintf(&b, "- %s: %s\n", c.name, versions)
	}
	b.WriteString("\nCases in which another library takes less time, without the curves P-384 and P-521:\n\n")
	for _, c := range contests {
		for _, o := range contestants[1:] {
			if c.times[o.name] != nil && c.ratio(o.name) < 1 && rank(c.curve) <= rank(keyring.P256) {
				fmt.Fprintf(&b, "- %s, %s: %s, %.2f\n", c, c.verb, o.name, c.ratio(o.name))
			}
		}
	}
	for _, verb := range []string{"pack", "unpack"} {
		fmt.Fprintf(&b, "\n## %s\n\n| | %s, µs |", verb, ours)
		for _, c := range contestants[1:] {
			fmt.Fprintf(&b, " %s |", c.name)
		}
		b.WriteString("\n|" + strings.Repeat("---|", 1+len(contestants)) + "\n")
		var lines []contest
		for _, c := range contests {
			if c.verb == verb {
				lines = append(lines, c)
			}
		}
		slices.SortStableFunc(lines, func(a, b contest) int { return cmp.Compare(rank(a.curve), rank(b.curve)) })
		for _, c := range lines {
			fmt.Fprintf(&b, "| %s | %.1f |", c, float64(c.median(ours).Nanoseconds())/1000)
			for _, o := range contestants[1:] {
				if c.times[o.name] == nil {
					b.WriteString(" - |")
				} else {
					fmt.Fprintf(&b, " %.2f |", c.ratio(o.name))
				}
			}
			b.WriteString("\n")
		}
	}
	return b.Bytes()
}

// rank is the order of the curves in the tables.
func rank(c keyring.Curve) int {
	return slices.Index([]keyring.Curve{"", keyring.X25519, keyring.P256, keyring.P384, keyring.P521}, c)
}
