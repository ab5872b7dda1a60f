package message_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/message"
)

func TestProblemReport(t *testing.T) {
	m, deviations, err := message.Parse(read(t, "problem-report.json"))
	if err != nil || deviations != nil {
		t.Fatal(err, deviations)
	}
	var p message.Problem
	if err := m.DecodeBody(&p); err != nil {
		t.Fatal(err)
	}
	if p.Code != "e.p.xfer.cant-use-endpoint" || p.EscalateTo != "mailto:admin@foo.org" || m.ParentThreadID != m.Ack[0] {
		t.Errorf("%+v", p)
	}
	if got, want := p.Text(), "Unable to use the https://agents.r.us/inbox endpoint for did:sov:C805sNYhMrjHiqZDTUASHg."; got != want {
		t.Errorf("got %q", got)
	}
}

func TestProblemText(t *testing.T) {
	for _, test := range []struct {
		comment string
		args    []string
		want    string
	}{
		{"", nil, ""},
		{"plain", nil, "plain"},
		{"{1} and {2}", []string{"a", "b"}, "a and b"},
		{"{2} and {1} and {2}", []string{"a", "b"}, "b and a and b"},
		{"{1} and {2}", []string{"a"}, "a and ?"},
		{"{1} and {2}", nil, "? and ?"},
		{"{1}", []string{""}, "?"},
		{"{1}", []string{"{2}", "x"}, "{2} x"}, // arguments are not looked into
		{"{1}.", []string{"a", "b", "c"}, "a. b, c"},
		{"none", []string{"a", ""}, "none a, ?"},
		{"", []string{"a", "b"}, "a, b"},
		{"{0} {} {x} {01} {1", []string{"a"}, "{0} {} {x} a {1"},
		{"{999999999}{9999999999}", nil, "?{9999999999}"},
	} {
		p := message.Problem{Comment: test.comment, Args: test.args}
		if got := p.Text(); got != test.want {
			t.Errorf("%q %q: got %q, want %q", test.comment, test.args, got, test.want)
		}
	}
	p := message.Problem{Comment: strings.Repeat("{1}", 1<<20), Args: []string{strings.Repeat("é", 1000)}}
	if got := p.Text(); len(got) > 17<<10 || !strings.HasSuffix(got, "é...") {
		t.Errorf("%d bytes", len(got))
	}
	p = message.Problem{Args: make([]string, 1<<20)}
	if got := p.Text(); len(got) > 17<<10 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestProblemError(t *testing.T) {
	p := message.NewProblem("e.p.me.res.storage", fmt.Errorf("write: %w", io.ErrShortWrite))
	if got := p.Error(); got != "problem e.p.me.res.storage: write: short write" {
		t.Error(got)
	}
	if !errors.Is(p, io.ErrShortWrite) {
		t.Error("cause lost")
	}
	if got := p.Text(); got != "A required resource is inadequate or unavailable." {
		t.Error(got)
	}
	if got := (&message.Problem{Code: "e.p.msg", Comment: "no {1}", Args: []string{"x"}}).Error(); got != "problem e.p.msg: no x" {
		t.Error(got)
	}
	if got := (&message.Problem{Code: "e.p.x"}).Error(); got != "problem e.p.x" {
		t.Error(got)
	}
	var target *message.Problem
	if !errors.As(fmt.Errorf("handle: %w", p), &target) || target != p {
		t.Error("not found by errors.As")
	}
}

func TestParseCode(t *testing.T) {
	for in, want := range map[string]message.Code{
		"e.p.xfer.cant-use-endpoint":       {"e", "p", "xfer.cant-use-endpoint"},
		"e.get-pay-details.payment-failed": {"e", "get-pay-details", "payment-failed"},
		"e.m.invalid-move":                 {"e", "m", "invalid-move"},
		"w.msg.bad-lang":                   {"w", "msg", "bad-lang"},
		"e.p":                              {"e", "p", ""},
		message.CodeMaxErrorsExceeded:      {"e", "p", "req.max-errors-exceeded"},
		message.CodeUnsupported:            {"e", "p", "msg.unsupported"},
		message.CodeInternal:               {"e", "p", message.DescriptorMe},
		message.CodeExpired:                {"e", "m", message.DescriptorReqTime},
	} {
		got, err := message.ParseCode(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("%s: %+v %v", in, got, err)
		}
	}
	for _, in := range []string{"", "e", "x.p.msg", "E.p.msg", "e.", "e..msg", "e.p.msg.", "e.p.Msg", "e.p.my_msg", "e.p.-msg", "e.p.msg-", "e.p.m sg", "e." + strings.Repeat("x", 300)} {
		if _, err := message.ParseCode(in); !errors.Is(err, message.ErrInvalid) {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, test := range []struct {
		code, prefix string
		want         bool
	}{
		{"e.p.xfer.cant-use-endpoint", "e.p.xfer", true},
		{"e.p.xfer", "e.p.xfer", true},
		{"e.p.xfers", "e.p.xfer", false},
		{"e.p", "e.p.xfer", false},
	} {
		if message.CodeHasPrefix(test.code, test.prefix) != test.want {
			t.Errorf("%+v", test)
		}
	}
	for code, want := range map[string]string{
		"e.p.trust.crypto.bad-tag": "Cryptographic operation failed.",
		"w.m.trust.x":              "Failed to achieve required trust.",
		"e.p.unknown":              "",
		"nonsense":                 "",
	} {
		if got := message.StandardComment(code); got != want {
			t.Errorf("%s: %q", code, got)
		}
	}
}
