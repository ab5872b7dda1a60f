//go:build interop

package interop_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// newMessage makes a message with random content and all the headers that
// travel: attachments of each kind, and unknown headers.
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
		{ID: message.NewID(), Data: message.AttachmentData{JSON: json.RawMessage(`{"k":[1,2,"` + rand.Text() + `"]}`)}},
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

// onlyTolerated checks that nothing else was tolerated.
func onlyTolerated(got []message.Deviation, allowed []message.DeviationCode) error {
	for _, d := range got {
		if !slices.Contains(allowed, d.Code) {
			return fmt.Errorf("deviation %s: %s", d.Code, d.Detail)
		}
	}
	return nil
}
