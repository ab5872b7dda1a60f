package didweb_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
)

// TestURLOf starts with the examples of the did:web specification, sections
// Method-specific identifier and Create (Register).
func TestURLOf(t *testing.T) {
	for _, tt := range []struct{ id, url, path string }{
		{"did:web:w3c-ccg.github.io", "https://w3c-ccg.github.io/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:w3c-ccg.github.io:user:alice", "https://w3c-ccg.github.io/user/alice/did.json", "/user/alice/did.json"},
		{"did:web:example.com%3A3000", "https://example.com:3000/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:example.com%3A3000:user:alice", "https://example.com:3000/user/alice/did.json", "/user/alice/did.json"},
		{"did:web:example.com:u:bob", "https://example.com/u/bob/did.json", "/u/bob/did.json"},

		{"did:web:example.com%3a3000", "https://example.com:3000/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:localhost%3A8443", "https://localhost:8443/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:127.0.0.1%3A8443", "https://127.0.0.1:8443/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:xn--bcher-kva.example:a%20b", "https://xn--bcher-kva.example/a%20b/did.json", "/a%20b/did.json"},
		{"did:web:example.com:...:a..b", "https://example.com/.../a..b/did.json", "/.../a..b/did.json"},
		{"did:web:my_host.example.com", "https://my_host.example.com/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:1.2.3.example", "https://1.2.3.example/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:0xbeef.example", "https://0xbeef.example/.well-known/did.json", "/.well-known/did.json"},
		{"did:web:example.com:caf%C3%A9", "https://example.com/caf%C3%A9/did.json", "/caf%C3%A9/did.json"},
		{longest, "https://example.com/" + longest[len("did:web:example.com:"):] + "/did.json", "/" + longest[len("did:web:example.com:"):] + "/did.json"},
	} {
		if got, err := didweb.URLOf(tt.id); err != nil || got != tt.url {
			t.Errorf("URLOf(%s) = %s, %v; want %s", tt.id, got, err, tt.url)
		}
		if got, err := didweb.PathOf(tt.id); err != nil || got != tt.path {
			t.Errorf("PathOf(%s) = %s, %v; want %s", tt.id, got, err, tt.path)
		}
	}
}

// longest is as long as a did:web may be.
var longest = "did:web:example.com:" + strings.Repeat("a", didweb.MaxLength-len("did:web:example.com:"))

func refusedIDs() []string {
	return []string{
		"", "did:web", "did:web:", "did:web::", "did:key:example.com", "web:example.com",
		"did:web:example.com#key-1", "did:web:example.com/path", "did:web:example.com?x", "DID:web:example.com",
		"did:web:example.com:", "did:web:example.com::a", "did:web:example.com:a::b", "did:web::example.com",
		"did:web:user%40example.com", "did:web:user%3Apass%40example.com", "did:web:user@example.com",
		"did:web:example.com%2Fpath", "did:web:example.com%5C", "did:web:example.com%3F", "did:web:example.com%23",
		"did:web:example.com%00", "did:web:ex%61mple.com", "did:web:%65xample.com", "did:web:b%C3%BCcher.example",
		"did:web:example.com.", "did:web:.example.com", "did:web:example..com", "did:web:-a.example", "did:web:a-.example",
		"did:web:" + strings.Repeat("a", 64) + ".example", "did:web:" + strings.Repeat("a.", 127) + "aa",
		"did:web:example.com%3A", "did:web:example.com%3A0", "did:web:example.com%3A65536", "did:web:example.com%3A080",
		"did:web:example.com%3A-1", "did:web:example.com%3A+1", "did:web:example.com%3A80%3A80", "did:web:example.com%3A8a",
		"did:web:%3A80", "did:web:2130706433", "did:web:127.1", "did:web:0x7f.1", "did:web:0x7f000001", "did:web:017700000001",
		"did:web:127.0.0.01", "did:web:1.2.3.4.5", "did:web:256.1.1.1", "did:web:0177.0.0.1", "did:web:127.0.0.0x1", "did:web:example.0x",
		"did:web:%5B%3A%3A1%5D", "did:web:[::1]",
		"did:web:example.com:.", "did:web:example.com:..", "did:web:example.com:a:..:b", "did:web:example.com:%2e%2e",
		"did:web:example.com:.%2E", "did:web:example.com:%2E", "did:web:example.com:a%2Fb", "did:web:example.com:a%2f..%2fb",
		"did:web:example.com:a%5Cb", "did:web:example.com:%00", "did:web:example.com:a%00", "did:web:example.com:a%0D%0Ab",
		"did:web:example.com:%252e", "did:web:example.com:a%3Fb", "did:web:example.com:a%23b", "did:web:example.com:%7F",
		"did:web:example.com:%FF", "did:web:example.com:a%2", "did:web:example.com:a%zz",
		longest + "a",
	}
}

func TestURLOfRefused(t *testing.T) {
	for _, id := range refusedIDs() {
		if got, err := didweb.URLOf(id); got != "" || !errors.Is(err, did.ErrInvalid) {
			t.Errorf("URLOf(%s) = %s, %v; want ErrInvalid", id, got, err)
		}
		if got, err := didweb.PathOf(id); got != "" || !errors.Is(err, did.ErrInvalid) {
			t.Errorf("PathOf(%s) = %s, %v; want ErrInvalid", id, got, err)
		}
	}
}

func TestNew(t *testing.T) {
	for domain, want := range map[string]string{
		"example.com":                "did:web:example.com",
		"example.com/":               "did:web:example.com",
		"example.com:3000":           "did:web:example.com%3A3000",
		"example.com/user/alice":     "did:web:example.com:user:alice",
		"example.com:3000/user/a b/": "did:web:example.com%3A3000:user:a%20b",
		"localhost:8080/a:b":         "did:web:localhost%3A8080:a%3Ab",
		"":                           "",
		"/a":                         "",
		"https://example.com":        "",
		"user@example.com":           "",
		"example.com:":               "",
		"example.com:http":           "",
		"example.com//a":             "",
		"example.com/../a":           "",
		"example.com/a?b":            "",
		"bücher.example":             "",
		"example.com%3A3000":         "did:web:example.com%3A3000",
		"example.com/a%2Fb":          "",
		"[::1]:8080":                 "",
		"example.com:3000:4000":      "",
		"example.com\r\nx: y":        "",
		"example.com/\x00":           "",
		"example.com/" + "caf\u00e9": "did:web:example.com:caf%C3%A9",
	} {
		got, err := didweb.New(domain)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("New(%q) = %s, %v; want %s", domain, got, err, want)
		}
		if err != nil && !errors.Is(err, did.ErrInvalid) {
			t.Errorf("New(%q): %v", domain, err)
		}
	}
}

func FuzzURLOf(f *testing.F) {
	for _, id := range refusedIDs() {
		f.Add(id)
	}
	f.Add("did:web:example.com%3A3000:user:alice")
	f.Add("did:web:127.0.0.1%3A8443")
	f.Fuzz(func(t *testing.T, id string) {
		s, err := didweb.URLOf(id)
		if err != nil {
			if s != "" || !errors.Is(err, did.ErrInvalid) {
				t.Fatalf("%q, %v", s, err)
			}
			return
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.String() != s ||
			!strings.HasSuffix(u.Path, "/did.json") || strings.Contains(u.Path, "/../") || strings.ContainsAny(u.Path, "\\\x00") {
			t.Fatalf("%s gives %s", id, s)
		}
		if u.JoinPath().Path != u.Path {
			t.Fatalf("%s is not a clean path", s)
		}
	})
}
