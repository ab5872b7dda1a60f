package message_test

import (
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/message"
)

// typical is a message of about 1 KiB.
func typical() []byte {
	return []byte(`{"id":"3c8a3b9e-9b5f-4a2e-8a53-6a2f1f0b6c11","typ":"application/didcomm-plain+json",` +
		`"type":"https://didcomm.org/basicmessage/2.0/message","from":"did:peer:2.Ez6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc.Vz6MkqRYqQiSgvZQdnBytw86Qbs2ZWUkGv22od935YF4s8M7V",` +
		`"to":["did:peer:2.Ez6LSpSrLxbAhg2SHwKk7kwpsH7DM7QjFS5iK6qP87eViohud.Vz6MkqRYqQiSgvZQdnBytw86Qbs2ZWUkGv22od935YF4s8M7V"],` +
		`"thid":"d4c1a0de-57a0-4b7d-9c93-51b6c9c2f1a7","created_time":1516269022,"expires_time":1516385931,"lang":"en","return_route":"all",` +
		`"body":{"content":"` + strings.Repeat("A line of text. ", 26) + `"}}`)
}

func BenchmarkParse(b *testing.B) {
	data := typical()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := message.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	m, _, err := message.Parse(typical())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Append(nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAllocations(t *testing.T) {
	data := typical()
	m, deviations, err := message.Parse(data)
	if err != nil || deviations != nil {
		t.Fatal(err, deviations)
	}
	if n := testing.AllocsPerRun(100, func() { message.Parse(data) }); n > 20 {
		t.Errorf("Parse allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { m.Append(nil) }); n > 6 {
		t.Errorf("Append allocates %v times", n)
	}
}
