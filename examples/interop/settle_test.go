//go:build interop

package interop_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// aRun is what a run found: a peer that has everything, one that may be missing,
// and a chapter with timings.
func aRun() *matrix {
	m := &matrix{}
	hello := peer.Hello{Language: "Go 1.2", Versions: map[string]string{"b": "2", "a": "1"}}
	for _, name := range []string{mayMiss, "alpha"} {
		r := m.row(name)
		r.hello, r.notRun = hello, ""
		r.cells = []result{
			{"to peer: two key types", green, nil},
			{"to peer: authcrypt/P-256/1 key", green, nil},
			{"to peer: authcrypt/X25519/1 key", green, nil},
			{"from peer: authcrypt/X25519/1 key", lacked, nil},
			{"from peer: authcrypt/X25519/3 keys", defective, nil},
			{"to peer: plain", green, nil},
		}
	}
	m.chapter(chapter{title: "Speed", text: "1 ms", timed: true})
	m.chapter(chapter{title: "Rules", text: "all"})
	return m
}

// The table says the same in each run but for dates, timings and peers that are
// missing, and anything else fails.
func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*matrix)
		want   string // part of the error; "" for none
	}{
		{"the same", func(*matrix) {}, ""},
		{"other timings", func(m *matrix) { m.chapter(chapter{title: "Speed", text: "2 ms", timed: true}) }, ""},
		{"no timings", func(m *matrix) { m.chapters = m.chapters[:1] }, `"Speed" is not of this run`},
		{"other rules", func(m *matrix) { m.chapter(chapter{title: "Rules", text: "none"}) }, `"Rules" is not what`},
		{"a new chapter", func(m *matrix) { m.chapter(chapter{title: "News", timed: true}) }, `"News" is not what`},
		{"a peer that lacks less", func(m *matrix) { m.rows[0].cells[3].outcome = green }, `"alpha" is not what`},
		{"a newer peer", func(m *matrix) { m.rows[0].hello.Versions = map[string]string{"a": "3"} }, `"alpha" is not what`},
		{"a missing peer", func(m *matrix) { m.rows[0].notRun = "no Go" }, ""},
		{"no row", func(m *matrix) { m.rows = m.rows[1:] }, `"alpha" is not of this run`},
		{"a new row", func(m *matrix) { m.row("beta").notRun = "" }, `"beta" is not what`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table, readme := filepath.Join(t.TempDir(), "MATRIX.md"), filepath.Join(t.TempDir(), "README.md")
			if err := os.WriteFile(readme, []byte("above\n<!-- matrix -->\nold\n<!-- /matrix -->\nbelow\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := aRun().settle(table, readme, true); err != nil {
				t.Fatal(err)
			}
			m := aRun()
			tt.change(m)
			err := m.settle(table, readme, false)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// What stands committed as not run is held against a run that has it, but for the
// peer that may be missing.
func TestSettleNotRun(t *testing.T) {
	for name, fails := range map[string]bool{"alpha": true, mayMiss: false} {
		table, readme := filepath.Join(t.TempDir(), "MATRIX.md"), filepath.Join(t.TempDir(), "README.md")
		if err := os.WriteFile(readme, []byte("<!-- matrix -->\n<!-- /matrix -->"), 0o600); err != nil {
			t.Fatal(err)
		}
		m := aRun()
		for _, r := range m.rows {
			if r.name == name {
				r.notRun = "gone"
			}
		}
		if err := m.settle(table, readme, true); err != nil {
			t.Fatal(err)
		}
		if err := aRun().settle(table, readme, false); (err != nil) != fails {
			t.Errorf("%s: %v", name, err)
		}
		for _, file := range []string{table, readme} {
			if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "not run: gone") {
				t.Errorf("%s: %s, %v", file, text, err)
			}
		}
	}
}

// The page names each line once, those of the table in its order, and what is red.
func TestPage(t *testing.T) {
	m := aRun()
	m.rows[0].cells = append(m.rows[0].cells, result{"from peer: forward/X25519", red, fmt.Errorf("%w: unpack:\ngone", peer.ErrFailed)})
	page := string(m.page(time.Now()))
	last := 0
	for _, line := range []string{
		"| | alpha | didcomm-jvm |\n|---|---|---|\n| plain | yes / - | yes / - |\n| authcrypt, X25519 | yes / defect | yes / defect |\n",
		"| forward, X25519 | - / red | - |\n",
		"## alpha\n\na 1, b 2 (Go)\n",
		"| plain | yes | - |\n| authcrypt, X25519 | yes | 0 of 2, lacks 1, defect 1 |\n| authcrypt, P-256 | yes | - |\n" +
			"| forward, X25519 | - | red |\n| two key types | yes | - |\n",
		"Red:\n\n- `from peer: forward/X25519`: the peer's program failed: unpack: gone\n",
		"## " + mayMiss, "## Rules\n\nall\n", "## Speed\n\n1 ms\n",
	} {
		at := strings.Index(page[last:], line)
		if at < 0 {
			t.Fatalf("no %q in %s", line, page[last:])
		}
		last += at
	}
}

// The summary says of each peer what it is, and of which curves and algorithms cells
// are green.
func TestSummary(t *testing.T) {
	summary := string(aRun().summary())
	want := "| didcomm-jvm | SICPA's library for the JVM: a 1, b 2 (Go) | - | - | P-256, X25519 / - | 6 | 4 | 1 | 1 |\n"
	if !strings.Contains(summary, want) {
		t.Errorf("no %q in %s", want, summary)
	}
}

// Each peer says what its library is.
func TestLibraries(t *testing.T) {
	entries, err := os.ReadDir("peers")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); e.IsDir() && name != ours && name != "live" && libraries[name] == "" {
			t.Errorf("libraries has no entry for %s", name)
		}
	}
}

// A peer that cannot be had fails a run under CI; one is let miss, when its
// registry has it not.
func TestMiss(t *testing.T) {
	toolchain := fmt.Errorf("%w: no mvn", peer.ErrToolchain)
	artifact := fmt.Errorf("mvn: %w: org.example:x", peer.ErrArtifact)
	for _, tt := range []struct {
		peer   string
		err    error
		ci     bool
		may    bool
		reason string
	}{
		{"alpha", toolchain, false, true, "toolchain not available: no mvn"},
		{"alpha", toolchain, true, false, "toolchain not available: no mvn"},
		{"alpha", artifact, false, true, "artifact not found"},
		{"alpha", artifact, true, false, "artifact not found"},
		{mayMiss, artifact, true, true, "artifact not found"},
		{mayMiss, toolchain, true, false, "toolchain not available: no mvn"},
		{mayMiss, errors.New("does not compile\nat all"), false, false, "does not compile"},
	} {
		r := &row{name: tt.peer}
		if may := r.miss(tt.err, tt.ci); may != tt.may || r.notRun != tt.reason {
			t.Errorf("%s, %v, CI %t: %t, %q", tt.peer, tt.err, tt.ci, may, r.notRun)
		}
	}
}
