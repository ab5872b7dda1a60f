package endpoint_test

import (
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/endpoint"
)

var endpoints = []struct{ in, want string }{ // want "" is an error
	{"https://example.com", "https://example.com"},
	{"HTTPS://example.com/a%2Fb?c=d#e", "https://example.com/a%2Fb?c=d"},
	{"http://[::1]:8080/", "http://[::1]:8080/"},
	{"ws://example.com", ""},
	{"did:example:mediator", ""},
	{"didcomm:transport/queue", ""},
	{"//example.com", ""},
	{"https://", ""},
	{"https://:443/", ""},
	{"https://user@example.com/", ""},
	{"https://example.com:port/", ""},
	{"https://exa mple.com/", ""},
	{"https://example.com/\r\nX: y", ""},
	{"", ""},
}

func TestParse(t *testing.T) {
	for _, c := range endpoints {
		u, err := endpoint.Parse(c.in, "http", "https")
		if err != nil {
			var e *transport.SendError
			if c.want != "" || u != nil || !errors.As(err, &e) || e.Retryable || e.Endpoint != c.in {
				t.Errorf("%q: %v, %v", c.in, u, err)
			}
		} else if u.String() != c.want {
			t.Errorf("%q: got %q, want %q", c.in, u, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range endpoints {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := endpoint.Parse(s, "http", "https")
		if err != nil {
			if u != nil {
				t.Error("a result beside an error")
			}
			return
		}
		again, err := endpoint.Parse(u.String(), "http", "https")
		if err != nil || again.String() != u.String() {
			t.Errorf("%q is not stable: %v, %v", u, again, err)
		}
	})
}
