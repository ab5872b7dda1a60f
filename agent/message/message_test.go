package message_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// full has all headers of the specification and some unknown members.
const full = `{
  "id": "1", "typ": "application/didcomm-plain+json", "type": "https://didcomm.org/x/1.0/y",
  "from": "did:example:alice", "to": ["did:example:bob", "did:example:carol"],
  "thid": "t", "pthid": "p", "created_time": 1516269022, "expires_time": 1516385931,
  "from_prior": "a.b.c", "lang": "fr", "accept-lang": ["fr", "en"],
  "please_ack": ["", "2"], "ack": ["3"], "return_route": "thread", "return_route_thread": "t",
  "trace": {"b": 1.0, "a": [1e2, null]}, "comment~l10n": null, "big": 12345678901234567890.10,
  "body": { "z": 1, "a": "\u00e9" },
  "attachments": [
    {"id": "a1", "description": "d", "filename": "f", "media_type": "m/t", "format": "g", "lastmod_time": 1516269022,
     "byte_count": 12, "com.example": {"k":  1.50}, "data": {"json": {"n":  1.00}, "sha256": "e3b0"}},
    {"data": {"base64": "-_8"}},
    {"data": {"links": ["https://example.com/1"], "hash": "zQm", "jws": {"signature": "s"}}}
  ]
}`

func TestParse(t *testing.T) {
	m, deviations, err := message.Parse([]byte(full))
	if err != nil || deviations != nil {
		t.Fatal(err, deviations)
	}
	at := time.Unix(1516269022, 0).UTC()
	want := &message.Message{
		ID: "1", Typ: message.MediaType, Type: "https://didcomm.org/x/1.0/y",
		From: "did:example:alice", To: []string{"did:example:bob", "did:example:carol"},
		ThreadID: "t", ParentThreadID: "p", CreatedTime: at, ExpiresTime: time.Unix(1516385931, 0).UTC(),
		FromPrior: "a.b.c", Lang: "fr", AcceptLang: []string{"fr", "en"},
		PleaseAck: []string{"", "2"}, Ack: []string{"3"}, ReturnRoute: "thread", ReturnRouteThread: "t",
		Headers: map[string]json.RawMessage{
			"trace":        json.RawMessage(`{"b": 1.0, "a": [1e2, null]}`),
			"comment~l10n": json.RawMessage(`null`),
			"big":          json.RawMessage(`12345678901234567890.10`),
		},
		Body: json.RawMessage(`{ "z": 1, "a": "\u00e9" }`),
		Attachments: []message.Attachment{
			{
				ID: "a1", Description: "d", Filename: "f", MediaType: "m/t", Format: "g", LastModTime: at, ByteCount: 12,
				Extra: map[string]json.RawMessage{"com.example": json.RawMessage(`{"k":  1.50}`)},
				Data: message.AttachmentData{
					JSON:  json.RawMessage(`{"n":  1.00}`),
					Extra: map[string]json.RawMessage{"sha256": json.RawMessage(`"e3b0"`)},
				},
			},
			{Data: message.AttachmentData{Base64: "-_8"}},
			{Data: message.AttachmentData{Links: []string{"https://example.com/1"}, Hash: "zQm", JWS: json.RawMessage(`{"signature": "s"}`)}},
		},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
}

func TestParseCopies(t *testing.T) {
	data := []byte(full)
	m, _, err := message.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if got, err := m.Append(nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the message changed with its source: %s %v", got, err)
	}
}

func TestTimeFloatMilliseconds(t *testing.T) {
	m, deviations, err := message.Parse([]byte(`{"id":"1","type":"t","created_time":1.516269022e12}`))
	if err != nil || m.CreatedTime.Unix() != 1516269022 || len(deviations) != 2 {
		t.Error(err, m, deviations)
	}
}

// TestRoundTrip also compares with encoding/json, which knows nothing of us.
func TestRoundTrip(t *testing.T) {
	for _, src := range [][]byte{
		[]byte(full), read(t, "plaintext.json"), read(t, "problem-report.json"),
		[]byte(`{"id":"1","type":"t","body":{},"attachments":[]}`),
		[]byte(`{"id":"1","type":"t","body":{},"attachments":[{"lastmod_time":"2018-01-18T10:50:22.123+01:00","data":{"json":1}}]}`),
	} {
		m, _, err := message.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.Append([]byte("prefix"))
		if err != nil {
			t.Fatal(err)
		}
		out, ok := bytes.CutPrefix(out, []byte("prefix"))
		if !ok {
			t.Fatalf("prefix lost: %s", out)
		}
		var got, want any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := json.Unmarshal(src, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		again, _, err := message.Parse(out)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%v\ngot  %+v\nwant %+v", err, again, m)
		}
		for _, v := range []any{m, *m} {
			if viaJSON, err := json.Marshal(v); err != nil || !json.Valid(viaJSON) {
				t.Errorf("json.Marshal(%T): %v %s", v, err, viaJSON)
			}
		}
	}
}

func TestAppendOrder(t *testing.T) {
	m := message.Message{
		ID: "1", Type: "https://example.com/p/1.0/m", Typ: message.MediaType, From: "did:example:a\"\u00e9", To: []string{"did:example:b"},
		CreatedTime: time.Unix(0, 0), Headers: map[string]json.RawMessage{"z": json.RawMessage("1"), "a": json.RawMessage(`"x"`)},
		Attachments: []message.Attachment{message.JSONAttachment("1", "", json.RawMessage(`{}`)), message.Base64Attachment("2", "a/b", []byte{0xfb, 0xff})},
	}
	const want = `{"id":"1","typ":"application/didcomm-plain+json","type":"https://example.com/p/1.0/m","from":"did:example:a\"é","to":["did:example:b"],` +
		`"created_time":0,"a":"x","z":1,"body":{},"attachments":[{"id":"1","data":{"json":{}}},{"id":"2","media_type":"a/b","data":{"base64":"-_8"}}]}`
	if got, err := m.Append(nil); err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func TestAppendInvalid(t *testing.T) {
	type M = message.Message
	raw := func(name, v string) map[string]json.RawMessage {
		return map[string]json.RawMessage{name: json.RawMessage(v)}
	}
	for name, m := range map[string]M{
		"no id":                   {Type: "t"},
		"no type":                 {ID: "1"},
		"long id":                 {ID: strings.Repeat("x", 1025), Type: "t"},
		"long type":               {ID: "1", Type: strings.Repeat("t", 2049)},
		"not UTF-8":               {ID: "1", Type: "t", From: "\xff"},
		"not UTF-8 in list":       {ID: "1", Type: "t", To: []string{"\xff"}},
		"body is no object":       {ID: "1", Type: "t", Body: json.RawMessage(`[]`)},
		"body is no JSON":         {ID: "1", Type: "t", Body: json.RawMessage(`{`)},
		"body with two of a name": {ID: "1", Type: "t", Body: json.RawMessage(`{"a":1,"a":2}`)},
		"body that escapes":       {ID: "1", Type: "t", Body: json.RawMessage(`{},"from":"x"`)},
		"header has a field":      {ID: "1", Type: "t", Headers: raw("from", `"x"`)},
		"header is no JSON":       {ID: "1", Type: "t", Headers: raw("x", `1,"from":2`)},
		"header name not UTF-8":   {ID: "1", Type: "t", Headers: raw("\xff", `1`)},
		"time before 1970":        {ID: "1", Type: "t", CreatedTime: time.Unix(-1, 0)},
		"time after 5138":         {ID: "1", Type: "t", ExpiresTime: time.Unix(100000000001, 0)},
		"extra has a field":       {ID: "1", Type: "t", Attachments: []message.Attachment{{Extra: raw("id", `"x"`)}}},
		"data extra has a field":  {ID: "1", Type: "t", Attachments: []message.Attachment{{Data: message.AttachmentData{Extra: raw("jws", `"x"`)}}}},
		"data json is no JSON":    {ID: "1", Type: "t", Attachments: []message.Attachment{{Data: message.AttachmentData{JSON: json.RawMessage(`}`)}}}},
		"negative count":          {ID: "1", Type: "t", Attachments: []message.Attachment{{ByteCount: -1}}},
	} {
		if got, err := m.Append(nil); !errors.Is(err, message.ErrInvalid) || got != nil {
			t.Errorf("%s: %v %s", name, err, got)
		}
	}
}

func TestParseInvalid(t *testing.T) {
	const head = `{"id":"1","type":"t",`
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	list := func(n int, s string) string { return "[" + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + "]" }
	extra := new(strings.Builder)
	for i := range 1001 {
		extra.WriteString(`,"x` + strings.Repeat("y", i) + `":0`)
	}
	for name, src := range map[string]string{
		"empty":                    ``,
		"null":                     `null`,
		"array":                    `[]`,
		"text":                     `"x"`,
		"cut":                      `{"id":"1","type":"t"`,
		"cut in string":            `{"id":"1","type":"t`,
		"trailing":                 `{"id":"1","type":"t"}{}`,
		"no id":                    `{"type":"t"}`,
		"empty id":                 `{"id":"","type":"t"}`,
		"null id":                  `{"id":null,"type":"t"}`,
		"no type":                  `{"id":"1"}`,
		"case of name":             `{"ID":"1","type":"t"}`,
		"long id":                  `{"id":"` + strings.Repeat("x", 1025) + `","type":"t"}`,
		"long type":                `{"id":"1","type":"` + strings.Repeat("t", 2049) + `"}`,
		"long thid":                head + `"thid":"` + strings.Repeat("x", 1025) + `"}`,
		"id number":                `{"id":1,"type":"t"}`,
		"type array":               `{"id":"1","type":["t"]}`,
		"duplicate":                head + `"id":"1"}`,
		"duplicate by escape":      head + `"\u0069d":"1"}`,
		"duplicate unknown":        head + `"x":1,"x":1}`,
		"duplicate in body":        head + `"body":{"a":1,"a":1}}`,
		"not UTF-8":                head + "\"from\":\"\xff\"}",
		"lone surrogate":           head + `"from":"\ud800"}`,
		"from object":              head + `"from":{}}`,
		"to object":                head + `"to":{}}`,
		"to of numbers":            head + `"to":[1]}`,
		"to of null":               head + `"to":[null]}`,
		"too many to":              head + `"to":` + list(1001, `"x"`) + `}`,
		"too many ack":             head + `"ack":` + list(1001, `"x"`) + `}`,
		"too many unknown":         head + `"x":0` + extra.String()[strings.Index(extra.String(), `,"xy"`):] + `,"z":0}`,
		"please_ack number":        head + `"please_ack":1}`,
		"body string":              head + `"body":"x"}`,
		"body array":               head + `"body":[]}`,
		"body broken":              head + `"body":{"x"}}`,
		"created_time true":        head + `"created_time":true}`,
		"created_time negative":    head + `"created_time":-1}`,
		"created_time far":         head + `"created_time":100000000000001}`,
		"created_time huge":        head + `"created_time":1e300}`,
		"created_time text":        head + `"created_time":"soon"}`,
		"created_time empty":       head + `"created_time":""}`,
		"created_time NaN":         head + `"created_time":"NaN"}`,
		"created_time date":        head + `"created_time":"2018-01-18"}`,
		"created_time year 9999":   head + `"created_time":"9999-01-18T09:50:22Z"}`,
		"attachments object":       head + `"attachments":{}}`,
		"attachment string":        head + `"attachments":["x"]}`,
		"attachment null":          head + `"attachments":[null]}`,
		"attachment no data":       head + `"attachments":[{"id":"x"}]}`,
		"data string":              head + `"attachments":[{"data":"x"}]}`,
		"base64 number":            head + `"attachments":[{"data":{"base64":1}}]}`,
		"links number":             head + `"attachments":[{"data":{"links":1}}]}`,
		"byte_count fraction":      head + `"attachments":[{"byte_count":1.5,"data":{}}]}`,
		"byte_count negative":      head + `"attachments":[{"byte_count":-1,"data":{}}]}`,
		"byte_count string":        head + `"attachments":[{"byte_count":"1","data":{}}]}`,
		"too many attachments":     head + `"attachments":` + list(1001, `{"data":{}}`) + `}`,
		"too deep":                 head + `"body":{"x":` + nested(63) + `}}`,
		"far too deep":             head + `"x":` + strings.Repeat(`[{"a":`, 1<<20),
		"too deep after strings":   head + `"x\\":"\\\"[","y":` + nested(64) + `}`,
		"too deep after backslash": head + `"x":"\\","y":` + nested(64) + `,"z":""}`,
	} {
		if m, deviations, err := message.Parse([]byte(src)); !errors.Is(err, message.ErrInvalid) || m != nil || deviations != nil {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
	for name, src := range map[string]string{
		"depth 64":            head + `"body":{"x":` + nested(62) + `}}`,
		"brackets in strings": head + `"x":"\\\"` + strings.Repeat("[", 100) + `\"[","y":"` + strings.Repeat("{", 100) + `"}`,
		"1000 to":             head + `"to":` + list(1000, `"x"`) + `}`,
		"1000 attachments":    head + `"attachments":` + list(1000, `{"data":{}}`) + `}`,
	} {
		if _, _, err := message.Parse([]byte(src)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	src := []byte(`{"id":"1","type":"t","to":["a","b"],"x":1,"y":{"z":[]},"attachments":[{"data":{}},{"data":{}}]}`)
	for name, test := range map[string]struct {
		limits message.Limits
		ok     bool
	}{
		"defaults":     {message.Limits{}, true},
		"just enough":  {message.Limits{Bytes: len(src), Depth: 4, Attachments: 2, List: 2, Extra: 2}, true},
		"bytes":        {message.Limits{Bytes: len(src) - 1}, false},
		"depth":        {message.Limits{Depth: 3}, false},
		"attachments":  {message.Limits{Attachments: 1}, false},
		"list":         {message.Limits{List: 1}, false},
		"unknown ones": {message.Limits{Extra: 1}, false},
	} {
		if _, _, err := test.limits.Parse(src); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeviations(t *testing.T) {
	type M = message.Message
	type D = message.Deviation
	at := time.Unix(1516269022, 0).UTC()
	for _, test := range []struct {
		member string
		want   M
		code   message.DeviationCode
		detail string
	}{
		{`"created_time":1516269022`, M{CreatedTime: at}, "", ""},
		{`"created_time":1516269022000`, M{CreatedTime: at}, message.DeviationTimeMilliseconds, "created_time"},
		{`"created_time":100000000000`, M{CreatedTime: time.Unix(1e11, 0).UTC()}, "", ""},
		{`"created_time":100000000001`, M{CreatedTime: time.UnixMilli(100000000001).UTC()}, message.DeviationTimeMilliseconds, "created_time"},
		{`"created_time":0`, M{CreatedTime: time.Unix(0, 0).UTC()}, "", ""},
		{`"expires_time":1516269022.0`, M{ExpiresTime: at}, message.DeviationTimeFloat, "expires_time"},
		{`"expires_time":1.516269022e9`, M{ExpiresTime: at}, message.DeviationTimeFloat, "expires_time"},
		{`"expires_time":1516269022.25`, M{ExpiresTime: at.Add(250 * time.Millisecond)}, message.DeviationTimeFloat, "expires_time"},
		{`"expires_time":1516269022.0000001`, M{ExpiresTime: at}, message.DeviationTimeFloat, "expires_time"},
		{`"expires_time":"1516269022"`, M{ExpiresTime: at}, message.DeviationTimeString, "expires_time"},
		{`"expires_time":"2018-01-18T09:50:22Z"`, M{ExpiresTime: at}, message.DeviationTimeISO8601, "expires_time"},
		{`"expires_time":"2018-01-18T10:50:22.000+01:00"`, M{ExpiresTime: at}, message.DeviationTimeISO8601, "expires_time"},
		{`"expires_time":"2018-01-18T09:50:22"`, M{ExpiresTime: at}, message.DeviationTimeISO8601, "expires_time"},
		{`"to":"did:example:bob"`, M{To: []string{"did:example:bob"}}, message.DeviationListString, "to"},
		{`"ack":"1"`, M{Ack: []string{"1"}}, message.DeviationListString, "ack"},
		{`"accept-lang":"en"`, M{AcceptLang: []string{"en"}}, message.DeviationListString, "accept-lang"},
		{`"to":[]`, M{}, "", ""},
		{`"please_ack":[]`, M{}, "", ""},
		{`"please_ack":true`, M{PleaseAck: []string{""}}, message.DeviationPleaseAckBool, "please_ack"},
		{`"please_ack":false`, M{}, message.DeviationPleaseAckBool, "please_ack"},
		{`"please_ack":"x"`, M{PleaseAck: []string{"x"}}, message.DeviationListString, "please_ack"},
		{`"body":{}`, M{}, "", ""},
		{`"body":null`, M{}, message.DeviationNull, "body"},
		{`"thid":null`, M{}, message.DeviationNull, "thid"},
		{`"to":null`, M{}, message.DeviationNull, "to"},
		{`"created_time":null`, M{}, message.DeviationNull, "created_time"},
		{`"attachments":null`, M{}, message.DeviationNull, "attachments"},
		{`"attachments":[]`, M{Attachments: []message.Attachment{}}, "", ""},
		{
			`"attachments":[{"lastmod_time":"yesterday","data":{"json":1}}]`,
			M{Attachments: []message.Attachment{{LastModText: "yesterday", Data: message.AttachmentData{JSON: json.RawMessage("1")}}}}, "", "",
		},
		{
			`"attachments":[{"lastmod_time":1516269022000,"data":{"json":1}}]`,
			M{Attachments: []message.Attachment{{LastModTime: at, Data: message.AttachmentData{JSON: json.RawMessage("1")}}}},
			message.DeviationTimeMilliseconds, "attachments.lastmod_time",
		},
		{
			`"attachments":[{"lastmod_time":"2018-01-18T09:50:22Z","data":{"json":1}}]`,
			M{Attachments: []message.Attachment{{LastModTime: at, LastModText: "2018-01-18T09:50:22Z", Data: message.AttachmentData{JSON: json.RawMessage("1")}}}}, "", "",
		},
		{
			`"attachments":[{"byte_count":null,"data":{"base64":"YQ"}},{"byte_count":null,"data":{"base64":"YQ"}}]`,
			M{Attachments: []message.Attachment{{Data: message.AttachmentData{Base64: "YQ"}}, {Data: message.AttachmentData{Base64: "YQ"}}}},
			message.DeviationNull, "attachments.byte_count",
		},
		{`"attachments":[{"data":{}}]`, M{Attachments: []message.Attachment{{}}}, message.DeviationNoData, "attachments.data"},
		{
			`"attachments":[{"data":{"links":["x"]}}]`,
			M{Attachments: []message.Attachment{{Data: message.AttachmentData{Links: []string{"x"}}}}},
			message.DeviationLinksNoHash, "attachments.data.hash",
		},
	} {
		m, got, err := message.Parse([]byte(`{"id":"1","type":"t",` + test.member + `}`))
		if err != nil {
			t.Errorf("%s: %v", test.member, err)
			continue
		}
		test.want.ID, test.want.Type, test.want.Body = "1", "t", json.RawMessage("{}")
		if len(m.To) == 0 {
			m.To = nil
		}
		if !reflect.DeepEqual(*m, test.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.member, *m, test.want)
		}
		var want []D
		if test.code != "" {
			want = []D{{test.code, test.detail}}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got deviations %v, want %v", test.member, got, want)
		}
	}
}

func TestErrorsHideContent(t *testing.T) {
	for _, src := range []string{
		`{"id":"1","type":"t","x":SECRET}`, `{"id":"1","type":"t","SECRET":1,"SECRET":2}`, `{"id":"1","type":"t","created_time":"SECRET"}`,
		`{"id":"1","type":"t","body":{"SECRET":tru}}`, `{"id":"1","type":"t","body":"SECRET"}`,
	} {
		if _, _, err := message.Parse([]byte(src)); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", src, err)
		}
	}
	m := &message.Message{ID: "1", Type: "t", Body: json.RawMessage(`{"n":"SECRET"}`)}
	var body struct {
		N int `json:"n"`
	}
	err := m.DecodeBody(&body)
	if !errors.Is(err, message.ErrInvalid) || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "/n") {
		t.Error(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("got", "message", m, "value", *m)
	if s := log.String(); strings.Contains(s, "SECRET") || !strings.Contains(s, "message.id=1") {
		t.Error(s)
	}
}

func TestNew(t *testing.T) {
	type ping struct {
		ResponseRequested bool `json:"response_requested"`
	}
	m, err := message.New("https://didcomm.org/trust-ping/2.0/ping", ping{true})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(m.ID) || m.ID == message.NewID() {
		t.Errorf("id %q", m.ID)
	}
	var got ping
	if err := m.DecodeBody(&got); err != nil || !got.ResponseRequested {
		t.Error(err, got)
	}
	m.From, m.To = "did:example:alice", []string{"did:example:bob"}
	r, err := m.Reply("https://didcomm.org/trust-ping/2.0/ping-response", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.ThreadID != m.ID || r.From != "did:example:bob" || !reflect.DeepEqual(r.To, []string{"did:example:alice"}) || string(r.Body) != "{}" || r.ID == m.ID {
		t.Errorf("%+v", r)
	}
	again, err := r.Reply(m.Type, nil)
	if err != nil || again.Thread() != m.ID {
		t.Error(err, again.Thread())
	}
	anonymous := &message.Message{ID: "1", Type: m.Type, To: []string{"a", "b"}}
	if r, err := anonymous.Reply(m.Type, nil); err != nil || r.To != nil || r.From != "" {
		t.Error(err, r)
	}
	for name, body := range map[string]any{"string": "x", "array": []int{1}, "channel": make(chan int), "broken": json.RawMessage(`{`)} {
		if m, err := message.New(m.Type, body); !errors.Is(err, message.ErrInvalid) || m != nil {
			t.Errorf("body %s: %v", name, err)
		}
	}
	if _, err := message.New("ping", nil); !errors.Is(err, message.ErrInvalid) {
		t.Error(err)
	}
	if err := (&message.Message{}).DecodeBody(&got); err != nil {
		t.Error(err)
	}
	if err := (&message.Message{Body: json.RawMessage(`{`)}).DecodeBody(&got); !errors.Is(err, message.ErrInvalid) {
		t.Error(err)
	}
}

// The message of Parse does not share memory with the input; that of ParseInPlace does.
func TestParseInPlace(t *testing.T) {
	const text = ` {"id":"1","type":"https://example.org/a/1.0/b", "body" : {"a":[1,"x"]} ,"x-h":{"y":2},` +
		`"attachments":[{"data":{"json": {"z":3} }}]}`
	for _, tt := range []struct {
		name  string
		parse func([]byte) (*message.Message, []message.Deviation, error)
		keeps bool
	}{{"Parse", message.Limits{}.Parse, false}, {"ParseInPlace", message.Limits{}.ParseInPlace, true}} {
		data := []byte(text)
		m, deviations, err := tt.parse(data)
		if err != nil || len(deviations) > 0 {
			t.Fatal(err, deviations)
		}
		for value, want := range map[*json.RawMessage]string{
			&m.Body:                     `{"a":[1,"x"]}`,
			&m.Attachments[0].Data.JSON: `{"z":3}`,
		} {
			if string(*value) != want {
				t.Errorf("%s: %s, want %s", tt.name, *value, want)
			}
			_ = append(*value, "overwritten"...)
		}
		if string(data) != text {
			t.Errorf("%s: an append to a value changed the data: %s", tt.name, data)
		}
		clear(data)
		if kept := m.Body[0] == 0; kept != tt.keeps {
			t.Errorf("%s: keeps the data: %v", tt.name, kept)
		}
	}
}
