package outofband_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/outofband"
)

// recording is an invitation that a live agent of the Credo family has made; see
// examples/interop/testdata/README.md.
type recording struct {
	name      string
	Plaintext json.RawMessage
	URL       string
}

func recordings(t testing.TB) []recording {
	t.Helper()
	files, err := filepath.Glob("../../examples/interop/testdata/credo/oob-invitation-*.json")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	var all []recording
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := recording{name: strings.TrimSuffix(filepath.Base(file), ".json")}
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestRecorded(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.name, func(t *testing.T) {
			var want struct{ ID, From string }
			if err := json.Unmarshal(r.Plaintext, &want); err != nil {
				t.Fatal(err)
			}
			texts := []string{string(r.Plaintext)}
			if r.URL != "" {
				texts = append(texts, r.URL)
			}
			for _, text := range texts {
				i, err := outofband.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				if i.ID != want.ID || i.From != want.From || !reflect.DeepEqual(i.Accept, []string{"didcomm/v2"}) {
					t.Errorf("parsed %+v", i)
				}
			}
		})
	}
}

// The offer in a recorded invitation has the shape of DIDComm v1. It is answered on its own
// thread, which is not its id.
func TestRecordedOffer(t *testing.T) {
	for _, r := range recordings(t) {
		if !strings.HasSuffix(r.name, "with-offer") {
			continue
		}
		i, err := outofband.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		all := i.Attached()
		if len(all) != 1 || !all[0].V1 {
			t.Fatalf("attached %+v", all)
		}
		m := all[0].Message
		if m.Type != "https://didcomm.org/issue-credential/2.0/offer-credential" || m.ID != "2d1fb5d2-3694-411b-ba47-fce199396afa" || m.From != i.From {
			t.Errorf("message %+v", m)
		}
		var b map[string]json.RawMessage
		if err := m.DecodeBody(&b); err != nil {
			t.Fatal(err)
		}
		if len(b) != 3 || b["formats"] == nil || b["credential_preview"] == nil || b["offers~attach"] == nil {
			t.Errorf("body %s", m.Body)
		}
		var answer message.Message
		i.Answer(&answer, m)
		if answer.ThreadID != "b606c8de-2a60-4792-985a-d509436e1dc4" || answer.ParentThreadID != i.ID || !reflect.DeepEqual(answer.To, []string{i.From}) {
			t.Errorf("answer %+v", answer)
		}
		return
	}
	t.Fatal("no recording with an offer")
}

// example is the invitation of the specification (Example Out-of-Band Message Encoding).
const example = `{"type":"https://didcomm.org/out-of-band/2.0/invitation","id":"69212a3a-d068-4f9d-a2dd-4741bca89af3","from":"did:example:alice","body":{"goal_code":"","goal":""},"attachments":[{"id":"request-0","media_type":"application/json","data":{"json":"<json of protocol message>"}}]}`

const exampleURL = "https://example.com/path?_oob=eyJ0eXBlIjoiaHR0cHM6Ly9kaWRjb21tLm9yZy9vdXQtb2YtYmFuZC8yLjAvaW52aXRhdGlvbiIsImlkIjoiNjkyMTJhM2EtZDA2OC00ZjlkLWEyZGQtNDc0MWJjYTg5YWYzIiwiZnJvbSI6ImRpZDpleGFtcGxlOmFsaWNlIiwiYm9keSI6eyJnb2FsX2NvZGUiOiIiLCJnb2FsIjoiIn0sImF0dGFjaG1lbnRzIjpbeyJpZCI6InJlcXVlc3QtMCIsIm1lZGlhX3R5cGUiOiJhcHBsaWNhdGlvbi9qc29uIiwiZGF0YSI6eyJqc29uIjoiPGpzb24gb2YgcHJvdG9jb2wgbWVzc2FnZT4ifX1dfQ"

// minimal returns the JSON of an invitation with a piece put in.
func minimal(piece string) string {
	return `{"type":"https://didcomm.org/out-of-band/2.0/invitation","id":"1","from":"did:example:alice"` + piece + `}`
}

func TestForms(t *testing.T) {
	std := base64.StdEncoding.EncodeToString([]byte(minimal(`,"body":{"goal":"???>>>~~~"}`)))
	padded := base64.URLEncoding.EncodeToString([]byte(minimal(`,"body":{"goal":"???>>>~~~"}`)))
	if !strings.ContainsAny(std, "+/") || !strings.HasSuffix(std, "=") || !strings.ContainsAny(padded, "-_") {
		t.Fatal("the example does not show the alphabets")
	}
	for name, text := range map[string]string{
		"the specification's URL": exampleURL,
		"JSON":                    example,
		"JSON with white space":   "\n " + example + "\n",
		"base64":                  exampleURL[strings.Index(exampleURL, "=")+1:],
		"standard alphabet":       "https://example.com?_oob=" + std,
		"escaped":                 "https://example.com?_oob=" + url.QueryEscape(std),
		"plus read as space":      "https://example.com?_oob=" + strings.ReplaceAll(std, "+", "%20"),
		"padded":                  "https://example.com?_oob=" + padded,
		"padded base64":           padded,
		"other parameters":        "https://example.com/a/b?coupon=1&_oob=" + padded + "&x=y#frag",
		"another scheme":          "didcomm://invite?_oob=" + padded,
		"parameter of version 1":  "https://example.com?oob=" + padded,
		"a short id as well":      "https://example.com?_oobid=1&_oob=" + padded,
		"an older spelling":       strings.Replace(example, "out-of-band/2.0/invitation", "out_of_band/2.3/Invitation", 1),
		"one profile as a text":   minimal(`,"body":{"accept":"didcomm/v2"}`),
		"several profiles":        minimal(`,"body":{"accept":["didcomm/aip2;env=rfc587","didcomm/V2;x=y"]}`),
		"no body":                 minimal(``),
		"nulls":                   minimal(`,"body":{"accept":null,"goal":null},"attachments":null,"thid":null`),
		"unknown members":         minimal(`,"body":{"x":1},"label":"Faber"`),
	} {
		if i, err := outofband.Parse(text); err != nil || i.From != "did:example:alice" {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
}

func TestRefused(t *testing.T) {
	v1 := `{"@type":"https://didcomm.org/out-of-band/1.1/invitation","@id":"1","services":["did:example:alice"]}`
	many := strings.Repeat(`{"data":{"json":{}}},`, outofband.MaxAttachments) + `{"data":{"json":{}}}`
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"empty":                   {"", outofband.ErrInvalid},
		"spaces":                  {" \n", outofband.ErrInvalid},
		"a DID":                   {"did:example:alice", outofband.ErrInvalid},
		"a word":                  {"hello!", outofband.ErrInvalid},
		"a short URL":             {"https://example.com/path?_oobid=5f0e3ffb-3f92-4648-9868-0d6f8889e6f3", outofband.ErrShort},
		"a URL":                   {"https://example.com/path", outofband.ErrShort},
		"a control character":     {"https://example.com/\x00?_oob=e30", outofband.ErrInvalid},
		"two invitations":         {exampleURL + "&_oob=e30", outofband.ErrInvalid},
		"no base64":               {"https://example.com?_oob=%7B%7D", outofband.ErrInvalid},
		"a bad escape":            {"https://example.com?_oob=%zz", outofband.ErrInvalid},
		"an empty parameter":      {"https://example.com?_oob=", outofband.ErrInvalid},
		"version 1":               {v1, outofband.ErrVersion},
		"version 1 in a URL":      {"https://example.com?oob=" + base64.RawURLEncoding.EncodeToString([]byte(v1)), outofband.ErrVersion},
		"connections 1.0":         {"https://example.com?c_i=" + base64.RawURLEncoding.EncodeToString([]byte(v1)), outofband.ErrVersion},
		"another message":         {`{"type":"https://didcomm.org/trust-ping/2.0/ping","id":"1","from":"did:example:alice"}`, outofband.ErrInvalid},
		"another major version":   {strings.Replace(example, "/2.0/", "/3.0/", 1), outofband.ErrInvalid},
		"no id":                   {strings.Replace(minimal(``), `"id":"1",`, ``, 1), outofband.ErrInvalid},
		"an empty id":             {strings.Replace(minimal(``), `"id":"1",`, `"id":"",`, 1), outofband.ErrInvalid},
		"no from":                 {strings.Replace(minimal(``), `,"from":"did:example:alice"`, ``, 1), outofband.ErrInvalid},
		"from is a URL":           {strings.Replace(minimal(``), `did:example:alice`, `https://example.com`, 1), outofband.ErrInvalid},
		"from is a key":           {strings.Replace(minimal(``), `did:example:alice`, `did:example:alice#key-1`, 1), outofband.ErrInvalid},
		"only other profiles":     {minimal(`,"body":{"accept":["didcomm/aip1","didcomm/aip2;env=rfc19","didcomm/v20"]}`), outofband.ErrProfile},
		"a goal that is a number": {minimal(`,"body":{"goal":1}`), outofband.ErrInvalid},
		"profiles of numbers":     {minimal(`,"body":{"accept":[1]}`), outofband.ErrInvalid},
		"too many attachments":    {minimal(`,"attachments":[` + many + `]`), outofband.ErrInvalid},
		"too deep":                {minimal(`,"body":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40)), outofband.ErrInvalid},
		"too long":                {minimal(`,"body":{"goal":"` + strings.Repeat("x", outofband.MaxBytes) + `"}`), outofband.ErrInvalid},
		"a member twice":          {minimal(`,"id":"2"`), outofband.ErrInvalid},
		"an envelope":             {`{"protected":"e30","recipients":[],"ciphertext":""}`, outofband.ErrInvalid},
	} {
		i, err := outofband.Parse(tt.text)
		if i != nil || !errors.Is(err, tt.want) || !errors.Is(err, outofband.ErrInvalid) {
			t.Errorf("%s: %+v, %v; want %v", name, i, err, tt.want)
		}
	}
}

func TestAttached(t *testing.T) {
	const ping2 = `{"id":"7","type":"https://didcomm.org/trust-ping/2.0/ping","body":{}}`
	for name, tt := range map[string]struct {
		attachments string
		want        []string // ids
	}{
		"none":            {``, nil},
		"json":            {`{"data":{"json":` + ping2 + `}}`, []string{"7"}},
		"base64":          {`{"data":{"base64":"` + base64.StdEncoding.EncodeToString([]byte(ping2)) + `"}}`, []string{"7"}},
		"the inviter":     {`{"data":{"json":{"id":"8","type":"https://didcomm.org/trust-ping/2.0/ping","from":"did:example:alice"}}}`, []string{"8"}},
		"another sender":  {`{"data":{"json":{"id":"8","type":"https://didcomm.org/trust-ping/2.0/ping","from":"did:example:mallory"}}}`, nil},
		"a link":          {`{"data":{"links":["https://example.com"],"hash":"z"}}`, nil},
		"a text":          {`{"data":{"json":"<json of protocol message>"}}`, nil},
		"no type":         {`{"data":{"json":{"id":"7"}}}`, nil},
		"v1":              {`{"data":{"json":{"@id":"9","@type":"did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/trust_ping/1.0/ping"}}}`, []string{"9"}},
		"v1 without id":   {`{"data":{"json":{"@type":"https://didcomm.org/trust_ping/1.0/ping"}}}`, nil},
		"v1 odd thread":   {`{"data":{"json":{"@id":"9","@type":"https://didcomm.org/trust_ping/1.0/ping","~thread":1}}}`, nil},
		"the first first": {`{"data":{"json":` + ping2 + `}},{"data":{"links":["https://example.com"]}},{"data":{"json":{"@id":"9","@type":"https://didcomm.org/trust_ping/1.0/ping"}}}`, []string{"7", "9"}},
	} {
		i, err := outofband.Parse(minimal(`,"attachments":[` + tt.attachments + `]`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, a := range i.Attached() {
			got = append(got, a.Message.ID)
			if a.Message.From != "did:example:alice" || !strings.HasPrefix(a.Message.Type, "https://didcomm.org/trust") {
				t.Errorf("%s: %+v", name, a.Message)
			}
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: messages %v, want %v", name, got, tt.want)
		}
	}
}

// What is written is the shape of the specification, and is read again.
func TestWritten(t *testing.T) {
	i := outofband.New("did:example:alice")
	i.GoalCode, i.Goal, i.Expires = "issue-vc", "To issue a <b>degree</b>", time.Unix(1900000000, 0)
	ping, err := message.New("https://didcomm.org/trust-ping/2.0/ping", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Attach(ping); err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{
		"https://example.com/path":     "https://example.com/path?_oob=",
		"https://example.com/path?x=1": "https://example.com/path?x=1&_oob=",
		"didcomm://invite":             "didcomm://invite?_oob=",
	} {
		text, err := i.URL(base)
		if err != nil || !strings.HasPrefix(text, want) || strings.HasSuffix(text, "=") {
			t.Fatalf("%s, %v", text, err)
		}
		got, err := outofband.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != i.ID || got.Goal != i.Goal || got.GoalCode != i.GoalCode || !got.Expires.Equal(i.Expires) || !reflect.DeepEqual(got.Accept, []string{"didcomm/v2"}) {
			t.Errorf("got %+v, want %+v", got, i)
		}
		if all := got.Attached(); len(all) != 1 || all[0].V1 || all[0].Message.ID != ping.ID {
			t.Errorf("attached %+v", all)
		}
		payload, err := outofband.Payload(text)
		if err != nil || !json.Valid(payload) || strings.Contains(string(payload), ": ") {
			t.Errorf("payload %s, %v", payload, err)
		}
	}
	for _, base := range []string{"", "example.com/path", "https://example.com/\x7f"} {
		if text, err := i.URL(base); text != "" || !errors.Is(err, outofband.ErrInvalid) {
			t.Errorf("base %q: %s, %v", base, text, err)
		}
	}
	for _, bad := range []*outofband.Invitation{{ID: "1"}, {From: "did:example:alice"}, {ID: "1", From: "alice"}, {ID: "1", From: "did:example:alice", Goal: strings.Repeat("x", outofband.MaxBytes)}} {
		if text, err := bad.URL("https://example.com"); text != "" || !errors.Is(err, outofband.ErrInvalid) {
			t.Errorf("%.80s, %v", text, err)
		}
	}
}

func TestExpired(t *testing.T) {
	end := time.Unix(1900000000, 0)
	for now, want := range map[time.Time]bool{end.Add(-time.Second): false, end: true, end.Add(time.Second): true} {
		if got := (&outofband.Invitation{Expires: end}).Expired(now); got != want {
			t.Errorf("%v: %v", now, got)
		}
	}
	if (&outofband.Invitation{}).Expired(end) {
		t.Error("an invitation without an end has expired")
	}
}

func FuzzParse(f *testing.F) {
	for _, r := range recordings(f) {
		f.Add(string(r.Plaintext))
		f.Add(r.URL)
	}
	f.Add(example)
	f.Add(exampleURL)
	f.Add(minimal(`,"body":{"accept":"didcomm/v2"},"expires_time":1,"attachments":[{"data":{"json":{"@id":"9","@type":"a/b/1.0/c","~thread":{"thid":"1"}}}}]`))
	f.Add("https://example.com/path?_oobid=1")
	f.Fuzz(func(t *testing.T, text string) {
		i, err := outofband.Parse(text)
		if err != nil {
			if i != nil || !errors.Is(err, outofband.ErrInvalid) {
				t.Fatal(i, err)
			}
			return
		}
		for _, a := range i.Attached() {
			if a.Message.ID == "" || a.Message.From != i.From {
				t.Fatalf("attached %+v", a.Message)
			}
		}
		first, err := i.MarshalJSON()
		if err != nil {
			t.Fatalf("parsed but not written: %v", err)
		}
		again, err := outofband.Parse(string(first))
		if len(first) > outofband.MaxBytes {
			return // the text was shorter, such as an attachment with escapes
		}
		if err != nil {
			t.Fatalf("written but not parsed: %v: %s", err, first)
		}
		second, err := again.MarshalJSON()
		if err != nil || string(first) != string(second) {
			t.Fatalf("%v\n%s\n%s", err, first, second)
		}
	})
}
