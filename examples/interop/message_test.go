//go:build interop

package interop_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
)

// newMessage makes a message with random content and all the headers that
// travel: attachments of each kind, one without an id, and unknown headers.
// from and to may be "".
func newMessage(t testing.TB, from, to string) *message.Message {
	t.Helper()
	number, err := rand.Int(rand.Reader, big.NewInt(1<<50))
	if err != nil {
		t.Fatal(err)
	}
	text := rand.Text() + " <ä€𝄞\u2028 \"\\/\x7f\n>"
	m, err := message.New("https://example.org/interop/1.0/test", map[string]any{
		"text":   text,
		"number": number,
		"ratio":  0.5,
		"list":   []any{true, nil, []string{}, map[string]any{}},
		"long":   rand.Text() + string(bytes.Repeat([]byte("x"), 2000)),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.From = from
	if to != "" {
		m.To = []string{to}
	}
	now := time.Now().Truncate(time.Second)
	m.CreatedTime, m.ExpiresTime = now, now.Add(time.Hour)
	m.ParentThreadID = message.NewID()
	if number.Bit(0) == 0 {
		m.ThreadID = message.NewID()
	}
	m.Lang, m.AcceptLang = "de", []string{"de", "en"}
	m.ReturnRoute = "all"
	m.Headers = map[string]json.RawMessage{
		"x-" + rand.Text(): json.RawMessage(`{"a":[1,"ß"]}`),
		"x-null":           json.RawMessage(`"null"`),
	}
	raw := make([]byte, 100)
	_, _ = rand.Read(raw)
	m.Attachments = []message.Attachment{
		{Data: message.AttachmentData{JSON: json.RawMessage(`{"k":[1,2,"` + rand.Text() + `"]}`)}},
		{
			ID: message.NewID(), Description: "bytes", Filename: "ü.bin", MediaType: "application/octet-stream",
			ByteCount: int64(len(raw)), LastModTime: now,
			Data: message.AttachmentData{Base64: base64.RawURLEncoding.EncodeToString(raw)},
		},
		{
			ID: "links", Format: "example@1",
			Data: message.AttachmentData{Links: []string{"https://example.org/" + rand.Text()}, Hash: "zQm" + rand.Text()},
		},
	}
	return m
}

// plaintext is the message on the wire.
func plaintext(t testing.TB, m *message.Message) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sameMessage compares what was opened with what was sent, value by value. What
// the libraries add by right is passed over: the media type, thid where it was
// absent (it is id then), ids of attachments. from_prior is compared apart.
func sameMessage(sent, opened []byte) error {
	want, err := members(sent)
	if err != nil {
		return err
	}
	got, err := members(opened)
	if err != nil {
		return fmt.Errorf("opened message: %w", err)
	}
	for _, m := range []map[string]any{want, got} {
		if typ, ok := m["typ"]; ok && typ != envelope.MediaTypePlain {
			return fmt.Errorf("typ is %v", typ)
		}
		delete(m, "typ")
		delete(m, "from_prior")
	}
	if _, ok := want["thid"]; !ok && got["thid"] == want["id"] {
		delete(got, "thid")
	}
	sentAttachments, _ := want["attachments"].([]any)
	attachments, _ := got["attachments"].([]any)
	for i := range min(len(attachments), len(sentAttachments)) {
		w, _ := sentAttachments[i].(map[string]any)
		g, _ := attachments[i].(map[string]any)
		if _, ok := w["id"]; !ok {
			if id, _ := g["id"].(string); id != "" {
				delete(g, "id")
			}
		}
	}
	return sameMembers(want, got)
}

func members(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var m map[string]any
	err := d.Decode(&m)
	return m, err
}

func sameMembers(want, got map[string]any) error {
	for name, value := range want {
		if !reflect.DeepEqual(value, got[name]) {
			return fmt.Errorf("%s: got %#v, sent %#v", name, got[name], value)
		}
	}
	for name, value := range got {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("%s: %#v was not sent", name, value)
		}
	}
	return nil
}

// sameMetadata compares what was reported of an envelope with what it was.
// Deviations are compared apart; Signers, and the order of recipients, are ours.
func sameMetadata(want, got envelope.Metadata) error {
	for _, m := range []*envelope.Metadata{&want, &got} {
		m.Signers, m.Deviations, m.FromPrior = nil, nil, nil
		m.EncryptedToKIDs = slices.Sorted(slices.Values(m.EncryptedToKIDs))
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("metadata: got %+v, want %+v", got, want)
	}
	return nil
}

// onlyTolerated checks that nothing else was tolerated.
func onlyTolerated(got []message.Deviation, allowed []message.DeviationCode) error {
	for _, d := range got {
		if !slices.Contains(allowed, d.Code) {
			return fmt.Errorf("deviation %s: %s", d.Code, d.Detail)
		}
	}
	return nil
}

// The comparison takes what the libraries add by right and nothing else.
func TestSameMessage(t *testing.T) {
	sent := `{"id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}]}`
	for _, tt := range []struct {
		opened string
		same   bool
	}{
		{sent, true},
		{`{"typ":"application/didcomm-plain+json","thid":"1","id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"id":"x","data":{"json":1}}]}`, true},
		{`{"typ":"application/json","id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"thid":"2","id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[2,1]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2.0]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2]}}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}},{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}],"lang":"de"}`, false},
		{`[]`, false},
	} {
		if err := sameMessage([]byte(sent), []byte(tt.opened)); (err == nil) != tt.same {
			t.Errorf("%s: %v", tt.opened, err)
		}
	}
}
