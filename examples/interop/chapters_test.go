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

// addFaults adds the tables of faults. What we refuse stands there without the
// peers (doc.go says why). What a peer that did not run would do with the rest
// stands there as not asked.
func (m *matrix) addFaults() {
	deviations := faultLines(craft.Deviations(), false)
	opened := slices.DeleteFunc(slices.Clone(deviations), line.unpublished)
	refused := slices.DeleteFunc(deviations, func(l line) bool { return !l.unpublished() })
	for _, c := range []chapter{
		{title: "Attacks", text: "Envelopes that no library may open, although they have the right form: the recipient would take for proven what is not proven. " +
			silence + table("fault", faultLines(craft.Attacks(), true), nil, nil)},
		{title: "Deviations", columns: true, text: "Envelopes that depart from DIDComm v2.1 in one point, and are otherwise correct. The first word of a line is the " +
			"code in `didcomm inspect`.\n\nThis library opens the following envelopes. \"opens\" or \"refuses\" says what the peer does. " + notAsked +
			table("fault", opened, m.rows, published) +
			"\nThis library refuses the following envelopes. " + silence + table("fault", refused, nil, nil)},
		{title: "Tampering", columns: true, text: "Envelopes that were changed without a key. This library refuses changed envelopes of the peers; the number says of how many peers. " +
			"The peers get envelopes of this library that were changed in the same way. " + silence + table("change", m.tamperLines(), nil, nil)},
	} {
		m.chapter(c)
	}
}

const (
	silence  = "The suite checks the answers of the peers, and does not publish them (doc.go says why, and how the author of a library can see them).\n\n"
	notAsked = "\"-\": the peer was not asked, because it did not run, does not open the correct envelope either, or leaves the decision to its users.\n\n"
)

// line is a line of a table: a fault or a change, in one mode.
type line struct {
	name, in string
	us       string // what we do
	did      func(r *row) verdict
}

// unpublished tells whether the line is held and not published.
func (l line) unpublished() bool { return l.us != string(opens) }

func faultLines(cases []craft.Case, attack bool) []line {
	var lines []line
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
			lines = append(lines, line{c.String(), in, string(us), func(r *row) verdict {
				v := unasked
				for _, f := range r.faults {
					if f.attack == attack && f.String() == c.String() && (c.First || f.mode == at) {
						v = f.verdict
					}
				}
				return v
			}})
			if c.First {
				break
			}
		}
	}
	return lines
}

func (m *matrix) tamperLines() []line {
	var lines []line
	for _, c := range craft.Tampers() {
		for _, at := range c.On {
			find := func(r *row) tampered {
				if i := slices.IndexFunc(r.tampered, func(x tampered) bool { return x.name == c.Name && x.mode == at }); i >= 0 {
					return r.tampered[i]
				}
				return tampered{to: unasked, from: unasked}
			}
			from := 0
			for _, r := range m.rows {
				if find(r).from == refuses {
					from++
				}
			}
			lines = append(lines, line{c.Name, string(at), fmt.Sprintf("refuses %d", from), func(r *row) verdict { return find(r).to }})
		}
	}
	return lines
}

// published is a verdict as it is published: that a message ends the peer's
// program is not.
func published(_ line, v verdict) string {
	if v == breaks {
		v = refuses
	}
	return string(v)
}

// marked is a verdict that is set off where it should not be.
func marked(l line, v verdict) string {
	if v == breaks || v == opens && l.unpublished() {
		return "**" + string(v) + "**"
	}
	return string(v)
}

// table has a column for each peer of rows.
func table(what string, lines []line, rows []*row, show func(line, verdict) string) string {
	columns := []string{what, "in", "us"}
	for _, r := range rows {
		columns = append(columns, r.name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s | %s | %s |", l.name, l.in, l.us)
		for _, r := range rows {
			fmt.Fprintf(&b, " %s |", show(l, l.did(r)))
		}
		b.WriteByte('\n')
	}
	return b.String()
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
