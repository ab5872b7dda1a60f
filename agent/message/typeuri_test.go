package message_test

import (
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent/message"
)

func TestParseType(t *testing.T) {
	type T = message.TypeURI
	for _, test := range []struct {
		in   string
		want T
		out  string // "" = in
	}{
		// The examples of sections Message Type URI and Problem Reports.
		{"https://didcomm.org/lets_do_lunch/1.0/proposal", T{"https://didcomm.org/", "lets_do_lunch", 1, 0, "proposal"}, ""},
		{"https://example.com/protocols?which=lets_do_lunch/1.0/proposal", T{"https://example.com/protocols?which=", "lets_do_lunch", 1, 0, "proposal"}, ""},
		{"did:example:1234567890;spec/lets_do_lunch/1.0/proposal", T{"did:example:1234567890;spec/", "lets_do_lunch", 1, 0, "proposal"}, ""},
		{"https://github.com/myorg/myproject/tree/master/docs/lets_do_lunch/1.0/proposal", T{"https://github.com/myorg/myproject/tree/master/docs/", "lets_do_lunch", 1, 0, "proposal"}, ""},
		{"https://didcomm.org/report-problem/2.0/problem-report", T{"https://didcomm.org/", "report-problem", 2, 0, "problem-report"}, ""},
		{"https://didcomm.org/x/2/y", T{"https://didcomm.org/", "x", 2, 0, "y"}, "https://didcomm.org/x/2.0/y"},
		{"https://didcomm.org/x/2.13.4/y", T{"https://didcomm.org/", "x", 2, 13, "y"}, "https://didcomm.org/x/2.13/y"},
	} {
		got, err := message.ParseType(test.in)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v %v", test.in, got, err)
		}
		if test.out == "" {
			test.out = test.in
		}
		if got.String() != test.out {
			t.Errorf("%s: written as %s", test.in, got)
		}
		piuri, err := message.ParsePIURI(got.PIURI() + "/")
		if want := (T{got.DocURI, got.Protocol, got.Major, got.Minor, ""}); err != nil || piuri != want || piuri.String() != got.PIURI() {
			t.Errorf("%s: %+v %v", got.PIURI(), piuri, err)
		}
	}
	for _, in := range []string{
		"", "/", "//", "///", "ping", "https://didcomm.org", "https://didcomm.org/trust-ping/ping", "https://didcomm.org/trust-ping/2.0/",
		"trust-ping/2.0/ping", "https://didcomm.org/trust-ping/2.x/ping", "https://didcomm.org/trust-ping/02.0/ping", "https://didcomm.org/trust-ping/2./ping",
		"https://didcomm.org/trust-ping/-2.0/ping", "https://didcomm.org/trust-ping/1.9999999999/ping", "https://didcomm.org/trust-ping/1.0.0.0/ping",
		"https://didcomm.org//2.0/ping", "https://didcomm.org/trust ping/2.0/ping", "https://didcomm.org/trust-ping/2.0/p\u00efng", "https://didcomm.org/trust-ping/2.0/ping#x",
	} {
		if got, err := message.ParseType(in); !errors.Is(err, message.ErrInvalid) || got != (T{}) {
			t.Errorf("%q: %+v %v", in, got, err)
		}
	}
	if got, err := message.ParsePIURI("https://didcomm.org/trust-ping"); !errors.Is(err, message.ErrInvalid) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestTypeMatches(t *testing.T) {
	handler, err := message.ParseType("https://didcomm.org/trust-ping/2.0/ping-response")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]bool{
		"https://didcomm.org/trust-ping/2.0/ping-response":   true,
		"https://didcomm.org/trust_ping/2.0/ping_response":   true,
		"https://didcomm.org/TrustPing/2.7/pingResponse":     true,
		"https://didcomm.org/trust.ping-/2.0/-ping-response": true,
		"https://didcomm.org/trust-ping/3.0/ping-response":   false,
		"https://didcomm.org/trust-ping/1.0/ping-response":   false,
		"https://didcomm.org/trust-ping/2.0/ping":            false,
		"https://didcomm.org/trust-ping/2.0/ping-responses":  false,
		"https://didcomm.org/trust-pin/2.0/ping-response":    false,
		"https://example.com/trust-ping/2.0/ping-response":   false,
	} {
		o, err := message.ParseType(in)
		if err != nil {
			t.Fatal(err)
		}
		if handler.Matches(o) != want || o.Matches(handler) != want {
			t.Errorf("%s: want %v", in, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { handler.Matches(handler) }); n != 0 {
		t.Errorf("Matches allocates %v times", n)
	}
}

func TestIs(t *testing.T) {
	const pong = "https://didcomm.org/trust-ping/2.0/ping-response"
	for _, test := range []struct {
		typ, of string
		want    bool
	}{
		{pong, pong, true},
		{"https://didcomm.org/trust-ping/2.7/ping-response", pong, true},
		{"https://didcomm.org/trust-ping/2/ping-response", pong, true},
		{"https://didcomm.org/TrustPing/2.0/ping_response", pong, true},
		{"https://didcomm.org/trust-ping/1.0/ping-response", pong, false},
		{"https://didcomm.org/trust-ping/2.0/ping", pong, false},
		{"https://example.com/trust-ping/2.0/ping-response", pong, false},
		{"ping-response", pong, false},
		{pong, "ping-response", false},
		{"ping-response", "ping-response", true},
		{"ping-response", "ping_response", false},
		{"", pong, false},
	} {
		if got := message.Is(&message.Message{Type: test.typ}, test.of); got != test.want {
			t.Errorf("%q is %q: %v", test.typ, test.of, got)
		}
	}
}
