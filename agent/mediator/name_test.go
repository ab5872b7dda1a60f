package mediator_test

import (
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// pair4 returns the long and the short form of a did:peer:4.
func pair4(t testing.TB) (long, short string) {
	t.Helper()
	long, err := didpeer.Encode4([]byte(`{"service":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	return long, long[:strings.LastIndexByte(long, ':')]
}

func TestName(t *testing.T) {
	ed, x := keyPair(t)
	other := x25519Key(t)
	long, short := pair4(t)
	for _, tt := range []struct{ name, id, want string }{
		{"DID", alice, alice},
		{"DID URL", alice + "/path?query#key-1", alice},
		{"key id of did:key", other + "#" + strings.TrimPrefix(other, "did:key:"), other},
		{"X25519", x, x},
		{"Ed25519", ed, x},
		{"key id of Ed25519", ed + "#" + strings.TrimPrefix(ed, "did:key:"), x},
		{"key id of the image", ed + "#" + strings.TrimPrefix(x, "did:key:"), x},
		{"did:peer:4 short", short, short},
		{"did:peer:4 long", long, short},
		{"did:peer:4 long with a key id", long + "#key-1", short},
		{"did:peer:4 with another document", long + "z", long + "z"},
		{"RFC 8032, test 1", "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw", "did:key:z6LSrEnPXPcLyNLKJPhdJ1eWqyYKARWket5BbiN1rjdUsQ9b"},
		{"no point", "did:key:z6Mkeb4rtEhc8DUtvt5ehaVjdx3TLbQPpnTArkXhqfb1Mq75", "did:key:z6Mkeb4rtEhc8DUtvt5ehaVjdx3TLbQPpnTArkXhqfb1Mq75"},
		{"no key", "did:key:z6Mk0", "did:key:z6Mk0"},
		{"long", ed + strings.Repeat("1", 1<<20), ed + strings.Repeat("1", 1<<20)},
		{"no DID", "alice", "alice"},
		{"empty", "", ""},
	} {
		if got := mediator.Name(tt.id); got != tt.want {
			t.Errorf("%s: %.100s, want %.100s", tt.name, got, tt.want)
		}
	}
}
