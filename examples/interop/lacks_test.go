//go:build interop

package interop_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// lack is something that a peer's library does not have.
type lack struct {
	cells *regexp.Regexp // whole names of the cells that need it
	words string         // part of what the peer says
	met   bool
}

// lacking describes a lack.
func lacking(cells, words string) *lack {
	return &lack{cells: regexp.MustCompile("^(?:" + cells + ")$"), words: words}
}

// lack is what the peer does not have of what a cell needs, nil if nothing.
func (s *suite) lack(cell string) *lack {
	for _, l := range s.lacks {
		if l.cells.MatchString(cell) {
			l.met = true
			return l
		}
	}
	return nil
}

// check takes the peer's own words for what it lacks, and nothing else.
func (l *lack) check(err error) error {
	refused := (*peer.RefusedError)(nil)
	switch {
	case err == nil:
		return fmt.Errorf("passes, but the peer is said to lack it: %s", l.words)
	case !errors.As(err, &refused), !strings.Contains(err.Error(), l.words):
		return fmt.Errorf("fails otherwise than by what the peer lacks (%s): %w", l.words, err)
	}
	return nil
}
