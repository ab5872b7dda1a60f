package message_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/message"
)

func TestIsProblemReport(t *testing.T) {
	for typ, want := range map[string]bool{
		"https://didcomm.org/report-problem/2.0/problem-report":      true,
		"https://didcomm.org/report-problem/1.0/problem-report":      true,
		"https://didcomm.org/notification/1.0/problem-report":        true,
		"https://didcomm.org/issue-credential/2.0/problem-report":    true,
		"https://example.org/unknown/9.9/Problem_Report":             true,
		"https://example.org/unknown/9.9/problemReport":              true,
		"did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/basic/1/problem-report": true,
		"https://example.org/no-version/problem-report":              true,
		"no protocol at all/problem-report":                          true,
		"urn:example:problem-report":                                 true,
		"problem-report":                                             true,
		"https://didcomm.org/report-problem/2.0/problem-reports":     false,
		"https://didcomm.org/report-problem/2.0/a-problem-report":    false,
		"https://didcomm.org/problem-report/2.0/line":                false,
		"https://didcomm.org/report-problem/2.0/":                    false,
		"": false,
	} {
		if got := message.IsProblemReport(typ); got != want {
			t.Errorf("%q: %v", typ, got)
		}
	}
}

func TestReadProblem(t *testing.T) {
	long := strings.Repeat("x", 257)
	for body, want := range map[string]message.Problem{
		`{"code":"e.p.msg","comment":"{1} is odd","args":["3"],"escalate_to":"mailto:a@b.c"}`: {
			Code: "e.p.msg", Comment: "{1} is odd", Args: []string{"3"}, EscalateTo: "mailto:a@b.c"},
		`{"code":"e.p.msg"}`: {Code: "e.p.msg"},
		` "e.p.msg" `:        {Code: "e.p.msg"},
		`{"code":"e","args":[1,2.50,null,true,{"a": [ 1 ]},["x"],"é"]}`: {
			Code: "e", Args: []string{"1", "2.50", "", "true", `{"a":[1]}`, `["x"]`, "é"}},
		`{"code":"e","args":"one"}`:    {Code: "e", Args: []string{"one"}},
		`{"code":"e","args":{"a": 1}}`: {Code: "e", Args: []string{`{"a":1}`}},
		`{"code":"e","args":null}`:     {Code: "e"},
		`{"description":{"en":"Bad.","code":"message-parse-failure"},"who_retries":"none"}`: {
			Code: "message-parse-failure", Comment: "Bad."},
		`{"description":{"de":"Schlecht.","en":"Bad.","code":"c"}}`:       {Code: "c", Comment: "Bad."},
		`{"description":{"en":"Bad.","de":"Schlecht.","code":"c"}}`:       {Code: "c", Comment: "Bad."},
		`{"description":{"de":"Schlecht.","en-US":"Bad.","code":"c"}}`:    {Code: "c", Comment: "Bad."},
		`{"description":{"code":"c","de":"Schlecht."}}`:                   {Code: "c", Comment: "Schlecht."},
		`{"description":{"code":"c"}}`:                                    {Code: "c"},
		`{"description":"Bad."}`:                                          {Comment: "Bad."},
		`{"code":"c","description":"Bad."}`:                               {Code: "c", Comment: "Bad."},
		`{"code":"c","comment":"Mine.","description":{"code":"d"}}`:       {Code: "c", Comment: "Mine."},
		`{"code":"c","comment":{"en":"Bad."}}`:                            {Code: "c", Comment: "Bad."},
		`{"code":3,"comment":["hm"],"args":["x"],"description":{"en":1}}`: {Args: []string{"x"}},
		`{"code":"` + long + `","comment":"hm"}`:                          {Comment: "hm"},
		`{"code":""}`:                                                     {},
		`{}`:                                                              {},
		`[]`:                                                              {},
		`3`:                                                               {},
		`null`:                                                            {},
		`{"code":"`:                                                       {},
		``:                                                                {},
	} {
		got := message.ReadProblem([]byte(body))
		if got.Code != want.Code || got.Comment != want.Comment || got.EscalateTo != want.EscalateTo || !slices.Equal(got.Args, want.Args) {
			t.Errorf("%.100s: got %+v", body, got)
		}
	}
	many := message.ReadProblem(fmt.Appendf(nil, `{"code":"c","args":[%s1]}`, strings.Repeat("1,", 1000)))
	if many.Code != "c" || len(many.Args) != 100 {
		t.Errorf("%d arguments of %q", len(many.Args), many.Code)
	}
	if got := (&message.Problem{Comment: "hm"}).Error(); got != "problem without a code: hm" {
		t.Error(got)
	}
}

// A report that is no more than a code is taken, before or after its type; no other
// message is without a body that is an object.
func TestReportBody(t *testing.T) {
	for _, test := range []struct{ body, typ, want string }{
		{`"e.p.msg"`, "https://didcomm.org/notification/1.0/problem-report", `{"code":"e.p.msg"}`},
		{`[1]`, "problem-report", `{"code":[1]}`},
		{`7`, "problem-report", `{"code":7}`},
		{`"e.p.msg"`, "https://didcomm.org/notification/1.0/ack", ""},
	} {
		for _, src := range []string{
			`{"id":"1","type":"` + test.typ + `","body":` + test.body + `}`,
			`{"id":"1","body":` + test.body + `,"type":"` + test.typ + `"}`,
		} {
			m, deviations, err := message.Parse([]byte(src))
			switch {
			case test.want == "" && errors.Is(err, message.ErrInvalid):
			case err != nil || string(m.Body) != test.want || len(deviations) != 1 || deviations[0].Code != message.DeviationReportBody:
				t.Errorf("%s: %+v, %v, %v", src, m, deviations, err)
			}
		}
	}
}

func FuzzReadProblem(f *testing.F) {
	f.Add([]byte(`{"code":"e.p.msg","comment":"{1}","args":[1,null,{"a":1}]}`))
	f.Add([]byte(`{"description":{"en":"Bad.","code":"c"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p := message.ReadProblem(body)
		if len(p.Code) > 256 || len(p.Args) > 100 {
			t.Errorf("code of %d bytes, %d arguments", len(p.Code), len(p.Args))
		}
		_ = p.Text()
	})
}
