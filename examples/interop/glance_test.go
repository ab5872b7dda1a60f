//go:build interop

package interop_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const glanceTitle = "At a glance"

// glance is all rows in one table, the peers side by side.
func (m *matrix) glance() []byte {
	found := map[string]map[string]map[string][]result{} // by peer, line and direction
	names := map[string]bool{}
	head, rule := "|", "|---"
	for _, r := range m.rows {
		found[r.name] = r.lines()
		for name := range found[r.name] {
			names[name] = true
		}
		head += " | " + r.name
		rule += "|---"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Each cell says \"to the peer / from the peer\", or one word if both are the same.\n\n%s |\n%s|\n", head, rule)
	for _, name := range ordered(slices.Collect(maps.Keys(names))) {
		fmt.Fprintf(&b, "| %s", name)
		for _, r := range m.rows {
			line := found[r.name][name]
			to, from := word(line["to peer"]), word(line["from peer"])
			switch {
			case r.notRun != "":
				to = strings.TrimSuffix(notRun, ": ")
			case to != from:
				to += " / " + from
			}
			fmt.Fprintf(&b, " | %s", to)
		}
		b.WriteString(" |\n")
	}
	return b.Bytes()
}

// word is a place in the table of all peers.
func word(cells []result) string {
	n := count(cells)
	switch {
	case n[red] > 0:
		return outcomes[red]
	case n[green] > 0 && n[green] < len(cells):
		return "part"
	case n[defective] > 0:
		return outcomes[defective]
	}
	return text(cells)
}
