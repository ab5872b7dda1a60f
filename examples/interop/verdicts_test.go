//go:build interop

package interop_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

var attacks = flag.Bool("attacks", false, "print what the peers of this run do with faults, attacks and changed envelopes")

// verdictsFile holds what each peer does with all faults, as one sum of each peer:
// a run is held to the sums, and they are no list to read.
var verdictsFile = filepath.Join("testdata", "verdicts.sum")

// verdicts are the tables of faults with all that the peers of this run did.
func (m *matrix) verdicts() string {
	ran := slices.DeleteFunc(slices.Clone(m.rows), func(r *row) bool { return r.notRun != "" })
	var b strings.Builder
	for _, c := range []struct {
		title string
		lines []line
	}{
		{"Attacks", faultLines(craft.Attacks(), true)},
		{"Deviations", faultLines(craft.Deviations(), false)},
		{"Tampering", m.tamperLines()},
	} {
		fmt.Fprintf(&b, "## %s\n\n%s\n", c.title, table("envelope", c.lines, ran, marked))
	}
	return b.String()
}

// sum is that of what the peer did with all faults. The name is in it, so that
// peers which do the same do not show.
func (r *row) sum() string {
	alone := &matrix{rows: []*row{r}}
	h := sha256.New()
	fmt.Fprintln(h, r.name)
	for _, lines := range [][]line{faultLines(craft.Attacks(), true), faultLines(craft.Deviations(), false), alone.tamperLines()} {
		for _, l := range lines {
			fmt.Fprintf(h, "%s, %s: %s\n", l.name, l.in, l.did(r))
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// settleVerdicts writes the sums of the peers that ran, or holds what stands in
// the file against this run.
func (m *matrix) settleVerdicts(file string, write bool) error {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	have, sums := map[string]string{}, map[string]string{}
	for text := range strings.Lines(string(data)) {
		name, sum, _ := strings.Cut(strings.TrimSpace(text), " ")
		have[name] = sum
	}
	var errs []error
	for _, r := range m.rows {
		sum, known := have[r.name]
		delete(have, r.name)
		if r.notRun == "" {
			if sum != r.sum() && (known || r.name != mayMiss) {
				errs = append(errs, fmt.Errorf("%s: %s does otherwise with faults than recorded: -attacks prints what", file, r.name))
			}
			sum, known = r.sum(), true
		}
		if known {
			sums[r.name] = sum
		}
	}
	if write {
		var b bytes.Buffer
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			fmt.Fprintf(&b, "%s %s\n", name, sums[name])
		}
		return os.WriteFile(file, b.Bytes(), 0o644)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		errs = append(errs, fmt.Errorf("%s: %s is not of this run", file, name))
	}
	return errors.Join(errs...)
}

// faulty is a run of a peer that opens what nobody must, and ends by what is
// harmless.
func faulty() *matrix {
	m := aRun()
	attack, harmless, change := craft.Attacks()[0], craft.Deviations()[0], craft.Tampers()[0]
	for _, r := range m.rows {
		r.faults = []fault{
			{Case: attack, mode: attack.On[0], attack: true, verdict: opens},
			{Case: harmless, mode: harmless.On[0], verdict: breaks},
		}
		r.tampered = []tampered{{change.Name, change.On[0], opens, refuses}}
	}
	return m
}

// What is published names no peer beside a line that we refuse, nor one that a
// message ends; what is printed does.
func TestVerdictsUnpublished(t *testing.T) {
	m := faulty()
	m.addFaults()
	for _, c := range m.chapters {
		peers := false
		for text := range strings.Lines(c.text) {
			switch cells := strings.Split(strings.Trim(strings.TrimSpace(text), "|"), "|"); {
			case !strings.HasPrefix(text, "|"):
				peers = false
			case strings.Contains(text, "alpha"):
				peers = true
			case strings.Contains(text, string(breaks)), peers && strings.Contains(cells[min(2, len(cells)-1)], string(refuses)):
				t.Errorf("%s: %s", c.title, text)
			}
		}
		if named := strings.Contains(c.text, "| alpha |"); named != (c.title == "Deviations") && c.title != "Speed" && c.title != "Rules" {
			t.Errorf("%s: peers named: %t", c.title, named)
		}
	}
	printed := m.verdicts()
	for _, want := range []string{" | refuses | **opens** | **opens** |\n", " | opens | **breaks** | **breaks** |\n", " | refuses 2 | **opens** | **opens** |\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in %s", want, printed)
		}
	}
}

// A run is held to each peer's sum.
func TestSettleVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*matrix)
		want   string // part of the error; "" for none
	}{
		{"the same", func(*matrix) {}, ""},
		{"an attack refused", func(m *matrix) { m.rows[0].faults[0].verdict = refuses }, "alpha does otherwise"},
		{"a deviation opened", func(m *matrix) { m.rows[0].faults[1].verdict = opens }, "alpha does otherwise"},
		{"a change refused", func(m *matrix) { m.rows[1].tampered[0].to = refuses }, mayMiss + " does otherwise"},
		{"a missing peer", func(m *matrix) { m.rows[0].notRun = "no Go" }, ""},
		{"no row", func(m *matrix) { m.rows = m.rows[1:] }, "alpha is not of this run"},
		{"a new row", func(m *matrix) { m.row("beta").notRun = "" }, "beta does otherwise"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "verdicts.sum")
			if err := faulty().settleVerdicts(file, true); err != nil {
				t.Fatal(err)
			}
			m := faulty()
			tt.change(m)
			if err := m.settleVerdicts(file, false); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// A run without a peer leaves the peer's sum alone, and one peer need have none.
func TestVerdictsOfMissingPeers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "verdicts.sum")
	all := faulty()
	if err := all.settleVerdicts(file, true); err != nil {
		t.Fatal(err)
	}
	part := faulty()
	part.rows[0].notRun = "gone"
	if err := part.settleVerdicts(file, true); err != nil {
		t.Fatal(err)
	}
	if err := all.settleVerdicts(file, false); err != nil {
		t.Error(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	part.rows[0].notRun, part.rows[1].notRun = "", "gone" // the one that may be missing
	if err := part.settleVerdicts(file, true); err != nil {
		t.Fatal(err)
	}
	if err := all.settleVerdicts(file, false); err != nil {
		t.Error(err)
	}
}
