package did_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/did"
)

func TestParse(t *testing.T) {
	for s, want := range map[string]did.DID{
		"did:example:123":                  {Method: "example", ID: "123"},
		"did:example:123456789abcdefghi":   {Method: "example", ID: "123456789abcdefghi"},
		"did:web:example.com%3A8443:a:b":   {Method: "web", ID: "example.com%3A8443:a:b"},
		"did:a::b":                         {Method: "a", ID: ":b"},
		"did:a:b::c":                       {Method: "a", ID: "b::c"},
		"did:3:A-Z_a.z":                    {Method: "3", ID: "A-Z_a.z"},
		"did:peer:2.Ez6LS.SeyJ0IjoiZG0ifQ": {Method: "peer", ID: "2.Ez6LS.SeyJ0IjoiZG0ifQ"},
	} {
		got, err := did.Parse(s)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
		if got.String() != s {
			t.Errorf("%s becomes %s", s, got)
		}
	}
	for _, s := range []string{
		"", "did", "did:", "did:example", "did:example:", "did::x", "did:Example:x", "did:ex-ample:x", "DID:example:x",
		"did:example:a:", "did:example:a b", "did:example:a%", "did:example:a%2", "did:example:a%zz", "did:example:ü",
		"did:example:a/b", "did:example:a?b", "did:example:a#b", "did:example:a;b", "did:example:a@b", " did:example:a",
		"did:example:a\n", "did:example:a\x00", "urn:example:a", "did:" + strings.Repeat("%", 1000) + ":x",
	} {
		if got, err := did.Parse(s); !errors.Is(err, did.ErrInvalid) || got != (did.DID{}) {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
	if s := (did.DID{}).String(); s != "" {
		t.Errorf("the zero DID is %q", s)
	}
}

func TestParseURL(t *testing.T) {
	x := did.DID{Method: "example", ID: "123"}
	for s, want := range map[string]did.URL{
		"did:example:123":                                  {DID: x},
		"did:example:123/path":                             {DID: x, Path: "/path"},
		"did:example:123/":                                 {DID: x, Path: "/"},
		"did:example:123//a//b/":                           {DID: x, Path: "//a//b/"},
		"did:example:123?versionId=1":                      {DID: x, Query: "versionId=1"},
		"did:example:123#public-key-0":                     {DID: x, Fragment: "public-key-0"},
		"did:example:123/p?q=1&r=/?#f/?":                   {DID: x, Path: "/p", Query: "q=1&r=/?", Fragment: "f/?"},
		"did:example:123#a?b":                              {DID: x, Fragment: "a?b"},
		"did:example:123/%41%7e!$&'()*+,;=:@":              {DID: x, Path: "/%41%7e!$&'()*+,;=:@"},
		"did:example:123?service=files&relativeRef=/a%3Fb": {DID: x, Query: "service=files&relativeRef=/a%3Fb"},
	} {
		got, err := did.ParseURL(s)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
		if got.String() != s {
			t.Errorf("%s becomes %s", s, got)
		}
	}
	for _, s := range []string{
		"", "#a", "/a", "?a", "did:example", "did:example/x:y", "did:example:123#a#b", "did:example:123/a b",
		"did:example:123/%4", "did:example:123?%", "did:example:123#%gg", "did:example:123/[", "did:example:123#\"",
		"did:example:123?\\", "did:example:123;x=y", "https://example.com/#a",
	} {
		if got, err := did.ParseURL(s); !errors.Is(err, did.ErrInvalid) || got != (did.URL{}) {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
}

func TestReference(t *testing.T) {
	base := did.DID{Method: "example", ID: "123"}
	for ref, want := range map[string]string{
		"":                  "did:example:123",
		"#key-1":            "did:example:123#key-1",
		"?q":                "did:example:123?q",
		"?q#f":              "did:example:123?q#f",
		"/p?q#f":            "did:example:123/p?q#f",
		"p":                 "did:example:123/p",
		"./p/../q":          "did:example:123/q",
		"/a/b/../../../c/.": "did:example:123/c/",
		"..":                "did:example:123/",
		"./a:b":             "did:example:123/a:b",
		"did:other:y#k":     "did:other:y#k",
	} {
		if got, err := base.Reference(ref); err != nil || got.String() != want {
			t.Errorf("%q: got %s, %v, want %s", ref, got, err, want)
		}
	}
	for _, ref := range []string{"https://example.com", "a:b", "//example.com/x", "#a#b", "a b", "did:x", "%"} {
		if got, err := base.Reference(ref); !errors.Is(err, did.ErrInvalid) {
			t.Errorf("%q: got %s, %v", ref, got, err)
		}
	}
}

func TestBase(t *testing.T) {
	for s, want := range map[string]string{
		"did:x:y#k": "did:x:y", "did:x:y/p#k": "did:x:y", "did:x:y?q": "did:x:y", "did:x:y": "did:x:y", "#k": "", "": "",
	} {
		if got := did.Base(s); got != want {
			t.Errorf("%q: got %q", s, got)
		}
	}
	s := "did:x:y#k"
	if n := testing.AllocsPerRun(100, func() { _ = did.Base(s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"did:example:123", "did:example:123/p?q#f", "did:web:example.com%3A8443:a", "#key-1", "../a?b", "//x", "did:a::b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := did.ParseURL(s); err == nil {
			if did.Base(s) != u.DID.String() {
				t.Errorf("%q: base is %q", s, did.Base(s))
			}
			// Only an empty query or fragment is lost.
			if again, err := did.ParseURL(u.String()); err != nil || again != u {
				t.Errorf("%q becomes %q: %+v, %v", s, u, again, err)
			}
		} else if u != (did.URL{}) {
			t.Errorf("%q: error and %+v", s, u)
		}
		if u, err := (did.DID{Method: "example", ID: "1"}).Reference(s); err == nil {
			if again, err := did.ParseURL(u.String()); err != nil || again != u {
				t.Errorf("reference %q becomes %q: %+v, %v", s, u, again, err)
			}
		}
	})
}
