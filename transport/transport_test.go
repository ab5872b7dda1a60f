package transport_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
)

var mediaTypes = []struct {
	in, want string
	ok       bool
}{
	{"", "", true},
	{"  ", "", true},
	{"application/didcomm-plain+json", transport.MediaTypePlain, true},
	{"application/didcomm-signed+json", transport.MediaTypeSigned, true},
	{"application/didcomm-encrypted+json", transport.MediaTypeEncrypted, true},
	{"Application/DIDComm-Encrypted+JSON", transport.MediaTypeEncrypted, true},
	{"application/didcomm-encrypted+json; charset=utf-8", transport.MediaTypeEncrypted, true},
	{"application/didcomm-encrypted+json;charset=\"utf-8\" ; x=y", transport.MediaTypeEncrypted, true},
	{"application/didcomm-encrypted+json; charset", transport.MediaTypeEncrypted, true},
	{" application/didcomm-encrypted+json ", transport.MediaTypeEncrypted, true},
	{"didcomm-encrypted+json", transport.MediaTypeEncrypted, true},
	{"didcomm-signed+json", transport.MediaTypeSigned, true},
	{"application/didcomm+encrypted", transport.MediaTypeEncrypted, true},
	{"application/didcomm-envelope-enc", transport.MediaTypeEncrypted, true},
	{"Application/DIDComm-Envelope-Enc; charset=utf-8", transport.MediaTypeEncrypted, true},
	{"application/didcomm-envelope-enc;profile=\"didcomm/v2\"", transport.MediaTypeEncrypted, true},
	{"application/json", "", false},
	{"application/didcomm-encrypted", "", false},
	{"text/didcomm-encrypted+json", "", false},
	{"application/didcomm-encrypted+json, text/html", "", false},
	{";", "", false},
	{"/", "", false},
	{"\x00", "", false},
}

func TestParseMediaType(t *testing.T) {
	for _, c := range mediaTypes {
		got, err := transport.ParseMediaType(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: got %q, %v", c.in, got, err)
		}
		if err != nil && !errors.Is(err, transport.ErrMediaType) {
			t.Errorf("%q: got %v, want ErrMediaType", c.in, err)
		}
	}
}

func FuzzParseMediaType(f *testing.F) {
	for _, c := range mediaTypes {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := transport.ParseMediaType(s)
		switch {
		case err != nil && (got != "" || !errors.Is(err, transport.ErrMediaType)):
			t.Errorf("got %q, %v", got, err)
		case err == nil && got == "" && strings.TrimSpace(s) != "":
			t.Errorf("%q passes for a missing media type", s)
		case err == nil:
			if again, err := transport.ParseMediaType(got); again != got || err != nil {
				t.Errorf("%q is not stable: %q, %v", got, again, err)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		text  string
		cause error
	}{
		{&transport.SendError{Endpoint: "http://a", Err: io.EOF}, "send to http://a: EOF", io.EOF},
		{&transport.RejectError{Reason: "cannot decrypt", Err: io.EOF}, "cannot decrypt: EOF", io.EOF},
		{&transport.RejectError{Reason: "cannot decrypt"}, "cannot decrypt", nil},
	} {
		if c.err.Error() != c.text || !errors.Is(errors.Unwrap(c.err), c.cause) {
			t.Errorf("%v, cause %v", c.err, errors.Unwrap(c.err))
		}
	}
}

func TestContain(t *testing.T) {
	for _, c := range []struct {
		name string
		h    transport.HandlerFunc
		want func(error) bool
	}{
		{"fine", func(context.Context, transport.Replier, transport.Packet) error { return nil }, func(err error) bool { return err == nil }},
		{"error", func(context.Context, transport.Replier, transport.Packet) error { return io.EOF }, func(err error) bool { return err == io.EOF }},
		{"panic", func(context.Context, transport.Replier, transport.Packet) error { panic("boom") }, func(err error) bool {
			var p *transport.PanicError
			return errors.As(err, &p) && p.Value == "boom" && strings.Contains(string(p.Stack), "transport_test.go") && !strings.Contains(err.Error(), "goroutine")
		}},
		{"nil handler", nil, func(err error) bool {
			var p *transport.PanicError
			return errors.As(err, &p)
		}},
	} {
		handled, err := transport.Contain(c.h).ServePacket(t.Context(), transport.NoReply{}, transport.Packet{})
		if !c.want(err) || handled != nil {
			t.Errorf("%s: got %v, %v", c.name, handled, err)
		}
	}
	ch := make(chan struct{})
	if handled, err := transport.Contain(accepting(ch)).ServePacket(t.Context(), transport.NoReply{}, transport.Packet{}); handled != ch || err != nil {
		t.Errorf("accepting: got %v, %v", handled, err)
	}
	if err := (transport.NoReply{}).Reply(t.Context(), transport.Packet{}); !errors.Is(err, transport.ErrNoReturnRoute) {
		t.Errorf("NoReply: got %v", err)
	}
}

// accepting is a Handler that accepts every packet; the channel tells when they are
// handled.
type accepting <-chan struct{}

func (a accepting) ServePacket(context.Context, transport.Replier, transport.Packet) (handled <-chan struct{}, err error) {
	return a, nil
}
