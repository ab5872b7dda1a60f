package interop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// fixture is a file in testdata: what one library packed. testdata/README.md
// has the format.
type fixture struct {
	Packer    packerOf                  `json:"packer"`
	Secrets   []jsontext.Value          `json:"secrets"`
	Documents []jsontext.Value          `json:"documents"`
	Messages  map[string]jsontext.Value `json:"messages"`
	Vectors   []vector                  `json:"vectors"`
}

// packerOf says who packed.
type packerOf struct {
	Name     string            `json:"name"`
	Language string            `json:"language"`
	Versions map[string]string `json:"versions,omitempty"` // of the packages that matter
}

// vector is an envelope and what has to come of it.
type vector struct {
	Name       string                  `json:"name"`
	Comment    string                  `json:"comment,omitzero"`
	Expect     string                  `json:"expect"`            // success, or a class
	Message    string                  `json:"message,omitzero"`  // name in Messages
	Metadata   *envelope.Metadata      `json:"metadata,omitzero"` // without deviations
	Deviations []message.DeviationCode `json:"deviations,omitempty"`
	Envelope   string                  `json:"envelope"`
}

const success = "success"

// class is a reason to refuse, as testdata/README.md names it. An error has the
// first that it matches.
type class struct {
	name string
	err  error
}

var classes = []class{
	{"no key", envelope.ErrNoKey},
	{"duplicate name", envelope.ErrDuplicateName},
	{"limit", envelope.ErrTooDeep},
	{"limit", envelope.ErrTooManyRecipients},
	{"limit", envelope.ErrTooManySignatures},
	{"unprotected alg", envelope.ErrUnprotectedAlg},
	{"unsupported alg", envelope.ErrUnsupportedAlg},
	{"crit", envelope.ErrCritical},
	{"zip", envelope.ErrCompressed},
	{"header conflict", envelope.ErrHeaderConflict},
	{"invalid point", envelope.ErrInvalidPoint},
	{"low-order point", envelope.ErrLowOrderPoint},
	{"decrypt", envelope.ErrDecrypt},
	{"signature", envelope.ErrSignature},
	{"nesting", envelope.ErrNesting},
	{"sender mismatch", envelope.ErrSenderMismatch},
	{"signer mismatch", envelope.ErrSignerMismatch},
	{"recipient mismatch", envelope.ErrRecipientMismatch},
	{"from_prior", envelope.ErrFromPrior},
	{"malformed", envelope.ErrMalformed},
}

// classOf names the class of an error, "" if it has none.
func classOf(err error) string {
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return ""
}

func readFixture(t testing.TB, path string) *fixture {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := new(fixture)
	if err := json.Unmarshal(data, f, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}

// fixtures are the paths of all files in testdata.
func fixtures(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no fixtures: ", err)
	}
	return paths
}

// opener opens the file's envelopes: with its secrets and documents, and nothing
// else.
func (f *fixture) opener(t testing.TB, strict bool) *envelope.Packer {
	t.Helper()
	secrets, err := json.Marshal(f.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.ParseSecrets(secrets)
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]*did.Document{}
	for _, data := range f.Documents {
		doc, err := did.ParseDocument(data)
		if err != nil {
			t.Fatal(err)
		}
		documents[doc.ID] = doc
	}
	resolver := did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
		if doc, ok := documents[id]; ok {
			return doc, nil
		}
		return nil, did.ErrNotFound
	})
	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver, Strict: strict})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFixtures opens what other libraries packed, and refuses what nobody should
// open, without any of them.
func TestFixtures(t *testing.T) {
	for _, path := range fixtures(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			readFixture(t, path).check(t)
		})
	}
}

// check holds each vector to what it expects: tolerantly, strictly and by the
// doctor.
func (f *fixture) check(t *testing.T) {
	t.Helper()
	if len(f.Vectors) == 0 || f.Packer.Name == "" || f.Packer.Language == "" {
		t.Fatal("no vectors, or nobody who packed them")
	}
	tolerant, strict := f.opener(t, false), f.opener(t, true)
	seen := map[string]bool{}
	for _, v := range f.Vectors {
		if seen[v.Name] {
			t.Errorf("two vectors are called %s", v.Name)
		}
		seen[v.Name] = true
		t.Run(v.Name, func(t *testing.T) {
			if v.Expect == success {
				f.opens(t, tolerant, strict, v)
			} else {
				f.refuses(t, tolerant, strict, v)
			}
		})
	}
}

// opens holds a vector to its message, its metadata and its deviations.
func (f *fixture) opens(t *testing.T, tolerant, strict *envelope.Packer, v vector) {
	t.Helper()
	want, ok := f.Messages[v.Message]
	if !ok || v.Metadata == nil {
		t.Fatal("the vector has no message or no metadata")
	}
	same := func(u *envelope.Unpacked) error {
		got, err := json.Marshal(u.Message)
		if err != nil {
			return err
		}
		var codes []message.DeviationCode
		for _, d := range u.Metadata.Deviations {
			codes = append(codes, d.Code)
		}
		slices.Sort(codes)
		if codes = slices.Compact(codes); !slices.Equal(codes, v.Deviations) {
			err = fmt.Errorf("deviations %v, want %v", codes, v.Deviations)
		}
		if !reflect.DeepEqual(u.Metadata.FromPrior, v.Metadata.FromPrior) || !slices.Equal(u.Metadata.Signers, v.Metadata.Signers) {
			err = errors.Join(err, fmt.Errorf("from_prior %+v, signers %v", u.Metadata.FromPrior, u.Metadata.Signers))
		}
		return errors.Join(err, sameMessage(want, got), sameMetadata(*v.Metadata, u.Metadata))
	}
	u, err := tolerant.Unpack(t.Context(), []byte(v.Envelope))
	if err != nil {
		t.Fatal(err)
	}
	if err := same(u); err != nil {
		t.Error(err)
	}
	u, err = strict.Unpack(t.Context(), []byte(v.Envelope))
	var deviates *envelope.DeviationError
	switch {
	case len(v.Deviations) == 0 && err != nil:
		t.Errorf("strict: %v", err)
	case len(v.Deviations) == 0:
		if err := same(u); err != nil {
			t.Errorf("strict: %v", err)
		}
	case !errors.As(err, &deviates) || u != nil:
		t.Errorf("strict: %v, want a refusal for %v", err, v.Deviations)
	}
	report := doctor.Open(t.Context(), tolerant, []byte(v.Envelope))
	for _, code := range v.Deviations {
		if !slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.Code == string(code) }) {
			t.Errorf("doctor: no finding %s", code)
		}
	}
	if len(v.Deviations) == 0 {
		for _, finding := range report.AtLeast(doctor.Error) {
			t.Errorf("doctor: %v", finding)
		}
	}
}

// refuses demands an error of the vector's class and no message.
func (f *fixture) refuses(t *testing.T, tolerant, strict *envelope.Packer, v vector) {
	t.Helper()
	if !slices.ContainsFunc(classes, func(c class) bool { return c.name == v.Expect }) {
		t.Fatalf("no class is called %q", v.Expect)
	}
	u, err := tolerant.Unpack(t.Context(), []byte(v.Envelope))
	if u != nil || classOf(err) != v.Expect {
		t.Errorf("got %v, %v; want the class %q", u, err, v.Expect)
	}
	// A strict reader may stop earlier, at a deviation.
	if u, err := strict.Unpack(t.Context(), []byte(v.Envelope)); u != nil || err == nil {
		t.Errorf("strict: got %v, %v", u, err)
	}
	if report := doctor.Open(t.Context(), tolerant, []byte(v.Envelope)); len(report.AtLeast(doctor.Error)) == 0 {
		t.Error("the doctor finds no error")
	}
}

// The format's page has all classes, and each has a vector.
func TestFixtureClasses(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("testdata", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	met := map[string]bool{}
	for _, path := range fixtures(t) {
		for _, v := range readFixture(t, path).Vectors {
			met[v.Expect] = true
		}
	}
	for _, name := range append([]string{success}, names(classes)...) {
		if !met[name] {
			t.Errorf("no vector expects %q", name)
		}
		if !bytes.Contains(page, []byte("| `"+name+"` |")) {
			t.Errorf("README.md does not tell what %q is", name)
		}
	}
}

func names(list []class) []string {
	var all []string
	for _, c := range list {
		all = append(all, c.name)
	}
	return slices.Compact(all)
}
