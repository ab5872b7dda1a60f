package network_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
)

func TestParseDocs(t *testing.T) {
	const a, b = `{"id":"did:example:a"}`, `{"id":"did:example:b"}`
	for _, tt := range []struct {
		data string
		want int
		err  string
	}{
		{`{"did:example:a":` + a + `,"did:example:b":` + b + `}`, 2, ""},
		{`[` + a + `,` + b + `]`, 2, ""},
		{a, 1, ""},
		{`[]`, 0, ""},
		{`{}`, 0, ""},
		{`{"did:example:a":` + b + `}`, 0, "has the id did:example:b"},
		{`{"did:example:a":1}`, 0, "did:example:a"},
		{`[` + a + `,1]`, 0, "document 2"},
		{`[{"id":"nonsense"}]`, 0, "document 1"},
		{`1`, 0, "neither"},
		{`[`, 0, "neither"},
		{`{"did:example:a":` + a + `,"did:example:a":` + a + `}`, 0, "neither"},
	} {
		docs, err := network.ParseDocs([]byte(tt.data))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", tt.data, err, tt.err)
			}
			continue
		}
		if err != nil || len(docs) != tt.want {
			t.Errorf("%s: %d documents, %v", tt.data, len(docs), err)
		}
	}
}

func TestResolver(t *testing.T) {
	docs, err := network.ParseDocs([]byte(`[{"id":"did:example:a"}]`))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]error{"did:example:a": nil, "did:example:b": did.ErrNotFound} {
		if doc, err := docs.Resolve(t.Context(), id); !errors.Is(err, want) || err == nil && doc.ID != id {
			t.Errorf("%s in the documents: %v, want %v", id, err, want)
		}
	}
	r, err := network.Reach{}.Resolver(did.CacheConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]error{
		"did:example:b": did.ErrMethod,
		"did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH": nil,
		"did:peer:3zQm": did.ErrUnsupported,
		"nonsense":      did.ErrInvalid,
	} {
		if _, err := r.Resolve(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
}

// A URL elsewhere does not lead to this machine.
func TestFrom(t *testing.T) {
	for text, loopback := range map[string]bool{
		"http://127.0.0.1:80/i?_oobid=1": true, " http://localhost/i ": true, "http://[::1]/": true, "https://a.localhost./": true, "http://[::ffff:127.0.0.1]/": true,
		"https://example.org/i?_oobid=127.0.0.1": false, "https://localhost.example.org/": false, "http://10.0.0.1/": false, "{}": false, "%": false, "": false,
	} {
		for _, r := range []network.Reach{{Loopback: true}, {}} {
			err := r.From(text).Check(netip.IPv6Loopback())
			if allowed := loopback && r.Loopback; allowed != (err == nil) {
				t.Errorf("%+v.From(%q): %v", r, text, err)
			}
		}
	}
}
