//go:build interop

package interop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// suite is one peer's row of the table in the making.
type suite struct {
	*peer.Process
	row *row

	// defects are the cells that cannot be green because of the peer. One that
	// passes all the same fails, so that the list stays true.
	defects map[string]defect
	seen    map[string]bool // defects that were met
	// lacks are what the peer's library does not have. The cells are asked for
	// all the same: the peer has to say so.
	lacks []*lack
	// reports leaves of an envelope's metadata what the peer reports; nil if that
	// is all.
	reports func(envelope.Metadata) envelope.Metadata
	// quirks are what our side tolerates of the peer in any cell.
	quirks []message.DeviationCode

	// base is the mode of the extras where it is not what they are about; ""
	// stands for authcrypt, with a signature within for some.
	base string
	// service makes the services of a recipient's document, of the DID given,
	// in a shape from which the peer takes the uri and routing keys.
	service func(id, uri string, routingKeys []string) any

	// justJOSE: its library has no notion of messages.
	justJOSE bool

	tolerated map[message.DeviationCode]int // how often, in what the peer packed
}

// defect is a cell that the peer fails.
type defect struct {
	reason string // what in the peer's source makes it so
	want   string // part of the error that it shows as
}

// mayMiss is the one peer that CI lets miss: not every mirror of its registry has
// its artifact.
const mayMiss = "didcomm-jvm"

// installTime bounds the installation of a peer. A first build in Rust compiles
// about a hundred packages.
const installTime = 15 * time.Minute

// newSuite begins the row of the peer peers/name: it installs its program and
// starts it, which ends with the test. Peers run at once. A peer that cannot be
// had ends the test, and the table says why.
func newSuite(t *testing.T, name string, install func(ctx context.Context) (peer.Config, error)) *suite {
	t.Helper()
	t.Parallel()
	s := &suite{row: results.row(name), seen: map[string]bool{}, tolerated: map[message.DeviationCode]int{}}
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	cfg, err := install(ctx)
	if err != nil {
		if !s.row.miss(err, os.Getenv("CI") == "true") {
			t.Fatalf("%s%v", notRun, err)
		}
		t.Skipf("%s%v", notRun, err)
	}
	s.Process = peer.New(cfg)
	t.Cleanup(s.Close)
	if s.row.hello, err = s.Hello(t.Context()); err != nil {
		s.row.notRun = "its program fails"
		t.Fatal(err)
	}
	t.Logf("%s, %v", s.row.hello.Language, s.row.hello.Versions)
	return s
}

// miss notes why a peer cannot be had, and says whether the run may do without
// it: without a toolchain or package on a machine of one's own, but not under CI.
func (r *row) miss(err error, ci bool) bool {
	if errors.Is(err, peer.ErrArtifact) {
		r.notRun = peer.ErrArtifact.Error()
		return !ci || r.name == mayMiss
	}
	r.notRun, _, _ = strings.Cut(err.Error(), "\n")
	return !ci && errors.Is(err, peer.ErrToolchain)
}

// all asks a library for messages that reads documents everything, and ends its row.
func (s *suite) all(t *testing.T) {
	s.table(t)
	s.forms(t)
	s.mixed(t)
	s.bareAttachment(t)
	s.rotation(t)
	s.forwards(t)
	s.forwardByDID(t)
	s.forwardToEndpoint(t)
	s.services(t)
	s.methods(t)
	s.resolvers(t)
	s.faults(t)
	s.tampers(t) // knows from the faults how the peer reads signatures
	s.report(t)
}

// cell runs one cell as a test of its own.
func (s *suite) cell(t *testing.T, name string, run func(t *testing.T) error) {
	t.Run(name, func(t *testing.T) {
		r := result{name, red, errors.New("its test ended early")}
		defer func() { s.row.cells = append(s.row.cells, r) }()
		err := run(t)
		want, l := green, s.lack(name)
		d, listed := s.defects[name]
		s.seen[name] = listed
		switch {
		case l != nil:
			t.Logf("lacks: %v", err)
			want, err = lacked, l.check(err)
		case listed:
			t.Logf("defect of the peer: %v", err)
			want, err = defective, d.check(err)
		}
		if r.err = err; err != nil {
			t.Error(err)
			return
		}
		r.outcome = want
	})
}

// check takes the defect as it is described, and nothing else.
func (d defect) check(err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("passes, but stands in the list of defects: %s", d.reason)
	case errors.Is(err, peer.ErrFailed), !strings.Contains(err.Error(), d.want):
		return fmt.Errorf("fails otherwise than its listed defect (%s): %w", d.reason, err)
	}
	return nil
}

// report ends the row. Filters of go test leave cells out; then nothing is said
// of defects that were not met.
func (s *suite) report(t *testing.T) {
	t.Helper()
	met := 0
	for name := range s.defects {
		if s.seen[name] {
			met++
		} else if everything() {
			t.Errorf("no cell is called %q, but it stands in the list of defects", name)
		}
	}
	for _, l := range s.lacks {
		if everything() && !l.met {
			t.Errorf("no cell matches %s, but the peer is said to lack it", l.cells)
		}
	}
	n := count(s.row.cells)
	t.Logf("%d cells green, %d that the peer lacks, %d defects of the peer, %d red; tolerated: %v",
		n[green], n[lacked], n[defective], n[red], s.tolerated)
	s.row.defects, s.row.lacks = s.defects, s.lacks
	for code := range s.tolerated {
		s.row.deviates = append(s.row.deviates, string(code))
	}
	slices.Sort(s.row.deviates)
	s.row.notRun = ""
	if *recording {
		s.record(t)
	}
	s.checkRecording(t)
}

// cache is the folder of installed peers.
func cache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "didcomm-go-interop"), err
}
