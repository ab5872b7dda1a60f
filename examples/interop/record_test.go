//go:build interop

package interop_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

var recording = flag.Bool("record", false, "write what the peers pack to testdata")

// record writes testdata/PEER.json: for each mode, curve and content encryption
// one envelope that the peer packed, and some of the extras. What it lacks is left
// out; what it packs wrongly is recorded with the reason that we refuse it for. All
// but keys, envelopes and their chance deviations is the same in every recording.
func (s *suite) record(t *testing.T) {
	t.Helper()
	r := newRecorder(s.packer())
	for _, same := range alike() {
		for _, l := range same {
			x := r.exchange(t, l)
			if s.recordCell(t, r, l.String(), x, x.params(t), x.vector()) {
				break
			}
		}
	}
	s.recordRotation(t, r)
	s.recordRewrapped(t, r)
	r.write(t, s.row.name+".json")
}

// packer is what a recording says of the peer. The version of its language is the
// machine's.
func (s *suite) packer() packerOf {
	hello := s.row.hello
	language, _, _ := strings.Cut(hello.Language, " ")
	return packerOf{Name: hello.Name, Language: language, Versions: hello.Versions}
}

// checkRecording demands a recording of this very peer.
func (s *suite) checkRecording(t *testing.T) {
	t.Helper()
	path := filepath.Join("testdata", s.row.name+".json")
	if _, err := os.Stat(path); err != nil {
		t.Errorf("no recording of it (go test -record writes it): %v", err)
	} else if by := readFixture(t, path).Packer; !reflect.DeepEqual(by, s.packer()) {
		t.Errorf("%s is of %+v, this is %+v: go test -record", path, by, s.packer())
	}
}

// recordCell records what the peer packs for a cell; it says whether there was
// something to record. Others have part in the message beside sender and recipient.
func (s *suite) recordCell(t *testing.T, r *recorder, cell string, x exchange, params peer.PackParams, v vector, others ...*party) bool {
	t.Helper()
	cell = "from peer: " + cell
	if s.lack(cell) != nil {
		return false
	}
	defect, listed := s.defects[cell]
	packed, err := s.Pack(t.Context(), params)
	if err != nil {
		if !listed {
			t.Errorf("record %s: %v", cell, err)
		}
		return false
	}
	v.Envelope = string(packed.Envelope)
	got, err := packer(t, x.held, append(others, x.sender)...).Unpack(t.Context(), packed.Envelope)
	switch {
	case err != nil && listed:
		if v.Expect = classOf(err); v.Expect == "" {
			t.Errorf("record %s: no class is that of %v", cell, err)
		}
		v.Comment, v.Message, v.Metadata = defect.reason, "", nil
	case err != nil:
		t.Errorf("record %s: our unpack: %v", cell, err)
		return false
	default:
		if err := errors.Join(
			sameMessage(plaintext(t, x.message), plaintext(t, got.Message)),
			sameMetadata(*v.Metadata, got.Metadata),
			onlyTolerated(got.Metadata.Deviations, s.quirks)); err != nil {
			if !listed {
				t.Errorf("record %s: %v", cell, err)
			}
			return false
		}
		v.Deviations = codes(got.Metadata.Deviations)
	}
	r.add(t, x, v, others...)
	return true
}

// recordRotation records a message from somebody who was another DID before.
func (s *suite) recordRotation(t *testing.T, r *recorder) {
	t.Helper()
	x := r.exchange(t, layoutOf("authcrypt", keyring.X25519, "", ""))
	prior := r.party(t, "did:example:prior", keyring.X25519, 1, signatures...)
	claims := peer.FromPrior{Iss: prior.DID(), Sub: x.sender.DID(), IssuedAt: 1767225600}
	params := x.params(t)
	params.Known = known(t, x.sender, x.recipient, prior)
	params.Secrets = append(params.Secrets, secrets(t, prior.ring)...)
	params.FromPriorIssuerKID = prior.sign["EdDSA"]
	params.Message = with(t, params.Message, "from_prior", claims)
	v := x.vector()
	v.Name = "from_prior/EdDSA"
	v.Metadata.FromPriorIssuerKID = params.FromPriorIssuerKID
	v.Metadata.FromPrior = &envelope.FromPrior{Iss: claims.Iss, Sub: claims.Sub, IssuedAt: time.Unix(claims.IssuedAt, 0).UTC()}
	s.recordCell(t, r, v.Name, x, params, v, prior)
}

// recordRewrapped records a message that is wrapped in a forward for its
// recipient.
func (s *suite) recordRewrapped(t *testing.T, r *recorder) {
	t.Helper()
	if s.service == nil {
		return
	}
	x := r.exchange(t, s.extra("authcrypt", keyring.X25519, ""))
	v := x.vector()
	v.Name = "re-wrapped/X25519"
	v.Metadata.ReWrappedInForward = true
	s.recordCell(t, r, v.Name, x, s.routed(t, x, x.recipient.agree), v)
}

// TestOurs packs in each layout what a recording of us has.
func TestOurs(t *testing.T) {
	r := newRecorder(packerOf{Name: "didcomm-go", Language: "Go"})
	for _, same := range alike() {
		x := r.exchange(t, same[0])
		env, err := x.pack(t)
		if err != nil {
			t.Fatalf("%s: %v", x.layout, err)
		}
		v := x.vector()
		v.Envelope = string(env.Data)
		r.add(t, x, v)
	}
	r.file.check(t)
	if *recording {
		r.write(t, "didcomm-go.json")
	}
}

// alike are the layouts to record: with one key of the recipient, and with three
// where there is one layer. Of those in a group, which differ by the signature, or
// by the content encryption for three keys, one is enough; the first to try is
// another from group to group.
func alike() [][]layout {
	var groups [][]layout
	group := map[string]int{}
	for _, l := range layouts() {
		g := l
		if l.keys.listed > 1 {
			if l.sign || l.protect || l.keys.held < l.keys.listed {
				continue
			}
			g.enc = ""
		}
		if l.curves {
			g.alg = ""
		}
		i, ok := group[g.String()]
		if !ok {
			i = len(groups)
			group[g.String()], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], l)
	}
	for i, g := range groups {
		first := (i + i/3) % len(g)
		groups[i] = slices.Concat(g[first:], g[:first])
	}
	return groups
}
