package contact_test

import (
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
)

// BenchmarkMet asks about a party whose record is in memory, as the agent does for each
// message that it receives.
func BenchmarkMet(b *testing.B) {
	long, short := peer4(b, "one")
	for name, peer := range map[string]string{"long form": long, "short form": short, "other": party("a")} {
		b.Run(name, func(b *testing.B) {
			book := checked{b, contact.New(newStore(), contact.Config{})}
			book.keep(own, peer)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := book.Met(b.Context(), own, peer, time.Now(), false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
