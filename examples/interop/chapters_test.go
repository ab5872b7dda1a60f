//go:build interop

package interop_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

// addFaults adds the tables of what each peer does with faults. What a peer that
// did not run would do stands there as not asked.
func (m *matrix) addFaults() {
	for _, c := range []chapter{
		{title: "Attacks", columns: true, text: "Envelopes that hold together, and that nobody must open: what the recipient would take for proven is not.\n\n" +
			m.faultTable(craft.Attacks(), true)},
		{title: "Deviations", columns: true, text: "Envelopes that depart from DIDComm v2.1 in one thing and hold together. `didcomm inspect` names each by the code " +
			"that stands first, and the peers that refuse it.\n\n" + m.faultTable(craft.Deviations(), false)},
		{title: "Tampering", columns: true, text: "Envelopes changed by somebody without a key: ours handed to the peer, and the peer's handed to us, " +
			"which we refuse (\"us\": how many peers' envelopes).\n\n" + m.tamperTable()},
	} {
		m.chapter(c)
	}
}

const asked = "\"opens\", \"refuses\" or \"breaks\", which is that its program ends: what the peer does. \"-\": not asked, as it did not run, " +
	"does not open the same without the fault, or leaves to its users what it is about.\n\n"

func (m *matrix) faultTable(cases []craft.Case, attack bool) string {
	var b strings.Builder
	b.WriteString(asked)
	m.heading(&b, "fault", "in", "us")
	for _, c := range cases {
		us := opens
		if c.Refused != nil {
			us = refuses
		}
		for _, at := range c.On {
			in := string(at)
			if c.First {
				in, _, _ = strings.Cut(in, ",")
				if at == craft.Authcrypt {
					in = "encryption"
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s |", c, in, us)
			for _, r := range m.rows {
				v := unasked
				for _, f := range r.faults {
					if f.attack == attack && f.String() == c.String() && (c.First || f.mode == at) {
						v = f.verdict
					}
				}
				fmt.Fprintf(&b, " %s |", mark(v, attack))
			}
			b.WriteByte('\n')
			if c.First {
				break
			}
		}
	}
	return b.String()
}

// mark sets off what should not be.
func mark(v verdict, attack bool) string {
	if v == breaks || attack && v == opens {
		return "**" + string(v) + "**"
	}
	return string(v)
}

func (m *matrix) tamperTable() string {
	var b strings.Builder
	b.WriteString(asked)
	m.heading(&b, "change", "in", "us")
	for _, c := range craft.Tampers() {
		for _, at := range c.On {
			var cells []string
			from := 0
			for _, r := range m.rows {
				v := unasked
				if i := slices.IndexFunc(r.tampered, func(x tampered) bool { return x.name == c.Name && x.mode == at }); i >= 0 {
					v = r.tampered[i].to
					if r.tampered[i].from == refuses {
						from++
					}
				}
				cells = append(cells, mark(v, true))
			}
			fmt.Fprintf(&b, "| %s | %s | refuses %d | %s |\n", c.Name, at, from, strings.Join(cells, " | "))
		}
	}
	return b.String()
}

func (m *matrix) heading(b *strings.Builder, columns ...string) {
	for _, r := range m.rows {
		columns = append(columns, r.name)
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// withoutColumns removes columns from the tables of a text, and the counts that
// depend on them.
func withoutColumns(text string, names []string) string {
	if len(names) == 0 {
		return text
	}
	var drop []int
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") {
			drop = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if drop == nil {
			drop = []int{}
			for at, cell := range cells {
				if slices.Contains(names, strings.TrimSpace(cell)) {
					drop = append(drop, at)
				}
			}
		}
		for _, at := range slices.Backward(drop) {
			cells = slices.Delete(cells, at, at+1)
		}
		lines[i] = regexp.MustCompile(`refuses \d+`).ReplaceAllString(strings.Join(cells, "|"), "refuses")
	}
	return strings.Join(lines, "\n")
}

// A table without a peer's column is that of a run without the peer.
func TestWithoutColumns(t *testing.T) {
	const text = "a\n\n| x | in | us | p | q |\n|---|---|---|---|---|\n| c | d | refuses 2 | opens | - |\n\n| q |\n|---|\n| r |"
	const want = "a\n\n x | in | us | q \n---|---|---|---\n c | d | refuses | - \n\n q \n---\n r "
	if got := withoutColumns(text, []string{"p"}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := withoutColumns(text, nil); got != text {
		t.Errorf("got %q", got)
	}
}
