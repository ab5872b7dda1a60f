package message_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/didcomm-go/didcomm/agent/message"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add(read(f, "plaintext.json"))
	f.Add(read(f, "problem-report.json"))
	f.Add([]byte(`{"id":"1","type":"t","to":"x","body":null,"created_time":"2018-01-18T09:50:22Z","expires_time":1516269022000,"please_ack":true}`))
	f.Add([]byte(`{"id":"1","type":"t","created_time":1.5e9,"expires_time":"1","attachments":[{"data":{"json":null,"links":"x"}}]}`))
	f.Add([]byte(`{"id":"1","type":"t","attachments":[{"lastmod_time":"2018-01-18T10:50:22.123+01:00","data":{"json":1}}]}`))
	f.Add([]byte(`{"id":"1","type":"t","attachments":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, deviations, err := message.Parse(data)
		kept, keptDeviations, keptErr := message.Limits{}.ParseInPlace(bytes.Clone(data))
		if !reflect.DeepEqual(kept, m) || !reflect.DeepEqual(keptDeviations, deviations) || (keptErr == nil) != (err == nil) {
			t.Fatalf("parsed %+v, %v, %v; in place %+v, %v, %v", m, deviations, err, kept, keptDeviations, keptErr)
		}
		if err != nil {
			if !errors.Is(err, message.ErrInvalid) || m != nil || deviations != nil {
				t.Fatal(m, deviations, err)
			}
			return
		}
		first, err := m.Append(nil)
		if err != nil {
			t.Fatalf("parsed but not written: %v", err)
		}
		again, deviations, err := message.Parse(first)
		if err != nil {
			t.Fatalf("written but not parsed: %v: %s", err, first)
		}
		for _, d := range deviations {
			if d.Code != message.DeviationNoData && d.Code != message.DeviationLinksNoHash {
				t.Fatalf("we wrote %v: %s", d, first)
			}
		}
		if !reflect.DeepEqual(m.Headers, again.Headers) || !bytes.Equal(m.Body, again.Body) {
			t.Fatalf("raw values changed: %s", first)
		}
		second, err := again.Append(nil)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v\n%s\n%s", err, first, second)
		}
	})
}

func FuzzParseType(f *testing.F) {
	f.Add("https://didcomm.org/trust-ping/2.0/ping")
	f.Add("https://example.com/protocols?which=lets_do_lunch/1.0/proposal")
	f.Add("did:example:1234567890;spec/lets_do_lunch/1/proposal")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := message.ParseType(s)
		if err != nil {
			if !errors.Is(err, message.ErrInvalid) || u != (message.TypeURI{}) {
				t.Fatal(u, err)
			}
			return
		}
		again, err := message.ParseType(u.String())
		if err != nil || again != u || !u.Matches(again) {
			t.Fatalf("%+v %+v %v", u, again, err)
		}
	})
}
