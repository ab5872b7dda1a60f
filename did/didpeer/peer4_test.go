package didpeer_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/mr-tron/base58"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

type spec4 struct {
	Input string
	Long  struct {
		ID string
		json.RawMessage
	}
	Short json.RawMessage
}

func (s *spec4) UnmarshalJSON(data []byte) error {
	var v struct {
		Input       string
		Long, Short json.RawMessage
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	s.Input, s.Short, s.Long.RawMessage = v.Input, v.Short, v.Long
	var id struct{ ID string }
	err := json.Unmarshal(v.Long, &id)
	s.Long.ID = id.ID
	return err
}

// encoded4 and long4 make long forms without any of the checks of New4.
func encoded4(text string) string { return "z" + base58.Encode([]byte("\x80\x04"+text)) }

func long4(encoded string) string {
	sum := sha256.Sum256([]byte(encoded))
	return "did:peer:4z" + base58.Encode(append([]byte{0x12, 0x20}, sum[:]...)) + ":" + encoded
}

// TestSpec4 holds creating and resolving both forms to the specification's
// example.
func TestSpec4(t *testing.T) {
	v := load[spec4](t, "spec-method4.json")
	long, err := didpeer.Encode4([]byte(v.Input))
	if err != nil || long != v.Long.ID {
		t.Errorf("Encode4 = %s, %v\nwant %s", long, err, v.Long.ID)
	}
	short, ok := didpeer.Short(v.Long.ID)
	if !ok || short != "did:peer:4zQmd8CpeFPci817KDsbSAKWcXAE2mjvCQSasRewvbSF54Bd" {
		t.Fatalf("Short = %s, %v", short, ok)
	}

	r := didpeer.NewResolver()
	if _, err := r.Resolve(t.Context(), short); !errors.Is(err, did.ErrNotFound) {
		t.Errorf("short form before long form: %v", err)
	}
	longDoc := resolve(t, r, v.Long.ID)
	shortDoc := resolve(t, r, short)
	sameJSON(t, asMap(t, longDoc), asMap(t, v.Long.RawMessage))
	sameJSON(t, asMap(t, shortDoc), asMap(t, v.Short))
	if _, err := didpeer.NewResolver().Resolve(t.Context(), short); !errors.Is(err, did.ErrNotFound) {
		t.Errorf("another resolver knows the short form: %v", err)
	}

	for _, doc := range []*did.Document{longDoc, shortDoc} {
		for _, id := range []string{"", short, v.Long.ID} {
			if m, ok := doc.Method(id + "#6LSqPZfn"); !ok || m != doc.KeyAgreementKeys()[0] {
				t.Errorf("Method(%.20s#6LSqPZfn) of %.20s: %v, %v", id, doc.ID, m, ok)
			}
		}
		if _, ok := doc.Method("did:peer:4zQmOther#6LSqPZfn"); ok {
			t.Error("a method of another DID")
		}
		if e := doc.DIDCommServices(); len(e) != 1 || e[0].URI != "didcomm:transport/queue" {
			t.Errorf("endpoints %+v", e)
		}
	}

	// New4 of the resolved document, whichever form, gives the same content.
	for _, doc := range []*did.Document{longDoc, shortDoc} {
		again, err := didpeer.New4(doc)
		if err != nil {
			t.Fatal(err)
		}
		got := resolve(t, r, again)
		if len(got.KeyAgreementKeys()) != 1 || got.VerificationMethod[0].Controller != again || got.ID != again {
			t.Errorf("made again: %+v", got)
		}
	}
}

func TestPeers4(t *testing.T) {
	for _, v := range load[[]struct {
		Name     string
		Document json.RawMessage
	}](t, "peers-method4.json") {
		t.Run(v.Name, func(t *testing.T) {
			want := asMap(t, v.Document)
			id := want["id"].(string)
			doc := resolve(t, didpeer.NewResolver(), id)
			if len(want) > 1 { // the source gives the document too
				sameJSON(t, asMap(t, doc), want)
			}
			if len(doc.Service) != 1 {
				t.Errorf("services %+v", doc.Service)
			}
			for _, m := range doc.AuthenticationKeys() {
				if _, err := m.PublicKey(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestInputs4 makes DIDs of documents of many kinds.
func TestInputs4(t *testing.T) {
	for i, input := range load[[]json.RawMessage](t, "inputs-method4.json") {
		long, err := didpeer.Encode4(input)
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		r := didpeer.NewResolver()
		doc := resolve(t, r, long)
		short, _ := didpeer.Short(long)
		got, want := asMap(t, doc), asMap(t, input)
		if got["id"] != long || doc.AlsoKnownAs[0] != short {
			t.Errorf("%d: id %v, alsoKnownAs %v", i, got["id"], doc.AlsoKnownAs)
		}
		for _, name := range []string{"@context", "service", "publicKey"} {
			g, _ := json.Marshal(got[name])
			w, _ := json.Marshal(want[name])
			if string(g) != string(w) {
				t.Errorf("%d: %s = %s, want %s", i, name, g, w)
			}
		}
		for _, m := range doc.AuthenticationKeys() {
			if m.Controller != long {
				t.Errorf("%d: controller %s", i, m.Controller)
			}
		}
		resolve(t, r, short)
	}
}

func TestNew4(t *testing.T) {
	ed, x, _ := testKeys(t)
	for _, own := range []string{"", "did:example:draft"} {
		auth, err := did.NewVerificationMethod(own+"#key-1", own, did.TypeMultikey, ed)
		if err != nil {
			t.Fatal(err)
		}
		agree, err := did.NewVerificationMethod(own+"#key-2", "did:example:other", did.TypeMultikey, x)
		if err != nil {
			t.Fatal(err)
		}
		long, err := didpeer.New4(&did.Document{
			ID:                 own,
			AlsoKnownAs:        []string{"did:example:me"},
			VerificationMethod: []did.VerificationMethod{auth},
			Authentication:     []did.Relationship{{ID: own + "#key-1"}},
			KeyAgreement:       []did.Relationship{{ID: own + "#key-2", Embedded: &agree}},
			Service:            []did.Service{did.NewDIDCommService(own+"#inbox", "https://example.com")},
		})
		if err != nil {
			t.Fatal(err)
		}
		doc := resolve(t, didpeer.NewResolver(), long)
		short, _ := didpeer.Short(long)
		if got := doc.AlsoKnownAs; len(got) != 2 || got[0] != "did:example:me" || got[1] != short {
			t.Errorf("alsoKnownAs %v", got)
		}
		if m, ok := doc.Method(short + "#key-1"); !ok || m.ID != long+"#key-1" || m.Controller != long {
			t.Errorf("#key-1: %+v", m)
		}
		if m, ok := doc.Method(short + "#key-2"); !ok || m != doc.KeyAgreementKeys()[0] || m.Controller != "did:example:other" {
			t.Errorf("#key-2: %+v", m)
		}
		if len(doc.Service) != 1 || doc.Service[0].ID != long+"#inbox" {
			t.Errorf("service %+v", doc.Service)
		}
		if text, _ := doc.MarshalJSON(); own != "" && strings.Contains(string(text), own) {
			t.Errorf("the draft id is left in %s", text)
		}
	}
}

func TestEncode4Refused(t *testing.T) {
	for name, input := range map[string]string{
		"no json":      `{`,
		"array":        `[]`,
		"name twice":   `{"service":[],"service":[]}`,
		"absolute id":  `{"verificationMethod":[{"id":"did:example:a#1","type":"Multikey"}]}`,
		"too long":     `{"x":"` + strings.Repeat("x", didpeer.MaxLength) + `"}`,
		"too long b58": `{"x":"` + strings.Repeat("x", didpeer.MaxLength*3/4) + `"}`,
	} {
		if id, err := didpeer.Encode4([]byte(input)); id != "" || !errors.Is(err, did.ErrInvalid) {
			t.Errorf("%s: %s, %v", name, id, err)
		}
	}
}

func TestSameParty(t *testing.T) {
	long := load[spec4](t, "spec-method4.json").Long.ID
	short, _ := didpeer.Short(long)
	forged := short + ":" + encoded4(`{"service":[]}`)
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{long, long, true},
		{long, short, true},
		{long + "#key-1", short + "#key-2", true},
		{short, short + "?q", true},
		{"did:example:a", "did:example:a#k", true},
		{"did:example:a", "did:example:b", false},
		{"did:example:a", "did:example:a:b", false},
		{"did:peer:4zQm", long, false},
		{short, forged, false},
		{long, forged, false},
		{short, short + "x", false},
		{short, short + ":", false},
		{"", "", false},
		{"", "#x", false},
	} {
		if got := didpeer.SameParty(tt.a, tt.b); got != tt.want {
			t.Errorf("SameParty(%.30s, %.30s) = %v", tt.a, tt.b, got)
		}
		if got := didpeer.SameParty(tt.b, tt.a); got != tt.want {
			t.Errorf("SameParty(%.30s, %.30s) = %v", tt.b, tt.a, got)
		}
		if a, b := did.Canonical(tt.a), did.Canonical(tt.b); a != "" && (a == b) != tt.want {
			t.Errorf("Canonical: %s of %.30s, %s of %.30s", a, tt.a, b, tt.b)
		}
	}
	url := long4(encoded4(`{"service":[]}`) + "#key-1") // whose hash is right
	for _, id := range []string{short, forged, long + "#key-1", url, "did:example:a", ""} {
		if got, ok := didpeer.Short(id); ok || got != "" {
			t.Errorf("Short(%.30s) = %s", id, got)
		}
	}
}

// TestSeenIsBounded floods a resolver with long forms.
func TestSeenIsBounded(t *testing.T) {
	make4 := func(i int) (long, short string) {
		text, err := json.Marshal(map[string]any{"alsoKnownAs": []string{"did:example:" + strings.Repeat("x", 1000)}, "n": i})
		if err != nil {
			t.Fatal(err)
		}
		long, err = didpeer.Encode4(text)
		if err != nil {
			t.Fatal(err)
		}
		short, _ = didpeer.Short(long)
		return long, short
	}
	r := &didpeer.Resolver{MaxBytes: 10_000} // room for six
	favourite, favouriteShort := make4(0)
	resolve(t, r, favourite)
	known := 0
	var shorts []string
	for i := 1; i <= 50; i++ {
		long, short := make4(i)
		resolve(t, r, long)
		resolve(t, r, favouriteShort) // keeps it recent
		shorts = append(shorts, short)
	}
	for _, short := range shorts {
		if _, err := r.Resolve(t.Context(), short); err == nil {
			known++
		}
	}
	if known == 0 || known > 6 {
		t.Errorf("%d of 50 are still known", known)
	}
	resolve(t, r, shorts[len(shorts)-1])

	tiny := &didpeer.Resolver{MaxBytes: 1}
	resolve(t, tiny, favourite)
	resolve(t, tiny, favouriteShort) // the last one is always kept
}

func TestLongForm(t *testing.T) {
	long := load[spec4](t, "spec-method4.json").Long.ID
	short, _ := didpeer.Short(long)
	broken := errors.New("store is down")
	empty := encoded4(`[]`)
	emptyShort, _ := didpeer.Short(long4(empty))
	for _, tt := range []struct {
		name, ask, long string
		failure         error
		want            error // nil means that the error matches no class
		ok              bool
	}{
		{"known", short, long, nil, nil, true},
		{"unknown", short, "", nil, did.ErrNotFound, false},
		{"failed", short, "", broken, broken, false},
		{"failed with a long form", short, long, broken, broken, false},
		{"short form", short, short, nil, nil, false},
		{"of another document", short, long4(encoded4(`{}`)), nil, nil, false},
		{"with the hash of another document", short, short + ":" + encoded4(`{}`), nil, nil, false},
		{"of a document that is none", emptyShort, long4(empty), nil, did.ErrInvalid, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			r := &didpeer.Resolver{LongForm: func(ctx context.Context, asked string) (string, error) {
				calls++
				if asked != tt.ask || ctx != t.Context() {
					t.Errorf("asked for %s", asked)
				}
				return tt.long, tt.failure
			}}
			doc, err := r.Resolve(t.Context(), tt.ask)
			if ok := err == nil; ok != tt.ok || ok != (doc != nil) {
				t.Fatalf("Resolve = %v, %v", doc, err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			for _, class := range []error{did.ErrNotFound, did.ErrInvalid, did.ErrMethod, did.ErrUnsupported, did.ErrRefused} {
				if errors.Is(err, class) && tt.want != class {
					t.Errorf("error %v matches %v", err, class)
				}
			}
			_, again := r.Resolve(t.Context(), tt.ask)
			if tt.ok {
				if doc.ID != tt.ask || again != nil || calls != 1 {
					t.Errorf("document of %s; again %v; %d calls", doc.ID, again, calls)
				}
			} else if again == nil || calls != 2 {
				t.Errorf("again %v; %d calls", again, calls)
			}
		})
	}
	// A long form that was resolved is not asked for.
	r := &didpeer.Resolver{LongForm: func(context.Context, string) (string, error) { return "", broken }}
	resolve(t, r, long)
	resolve(t, r, short)
}

func TestResolverConcurrently(t *testing.T) {
	r := &didpeer.Resolver{MaxBytes: 3000}
	var wg sync.WaitGroup
	inputs := load[[]json.RawMessage](t, "inputs-method4.json")
	for range 4 {
		wg.Go(func() {
			for _, input := range inputs {
				long, err := didpeer.Encode4(input)
				if err != nil {
					t.Error(err)
					return
				}
				short, _ := didpeer.Short(long)
				if _, err := r.Resolve(t.Context(), long); err != nil {
					t.Error(err)
				}
				if doc, err := r.Resolve(t.Context(), short); err != nil && !errors.Is(err, did.ErrNotFound) || err == nil && doc.ID != short {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzPeer4(f *testing.F) {
	f.Add(load[spec4](f, "spec-method4.json").Input)
	for _, input := range load[[]json.RawMessage](f, "inputs-method4.json") {
		f.Add(string(input))
	}
	f.Add(`{"alsoKnownAs":null,"authentication":[{"id":"#1"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		// The raw text reaches the resolver behind a right hash, and as a DID.
		checkResolve(t, long4(encoded4(text)))
		checkResolve(t, "did:peer:4"+text)
		long, err := didpeer.Encode4([]byte(text))
		if err != nil {
			if !errors.Is(err, did.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		checkResolve(t, long)
		short, ok := didpeer.Short(long)
		if !ok || !didpeer.SameParty(long, short) {
			t.Fatalf("forms of %s: %s, %v", long, short, ok)
		}
	})
}
