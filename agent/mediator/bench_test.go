package mediator_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
)

// BenchmarkAccept compares Accept with a bare Deposit of the same mail, by one caller and by many.
func BenchmarkAccept(b *testing.B) {
	for name, open := range map[string]func(b *testing.B) back{
		"memory": func(*testing.B) back { return memory() },
		"sqlite": func(b *testing.B) back { return open(b, filepath.Join(b.TempDir(), "store")) },
	} {
		for _, callers := range []int{1, 64} {
			backend, data := open(b), make([]byte, 1000)
			n := newNode(b, backend, fast, func(c *mediator.Config) {
				c.Limits.Pair, c.Limits.Box = store.Share{Items: 1 << 30}, store.Share{Items: 1 << 30}
			})
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error)
			go func() { done <- n.Run(ctx) }()
			const boxes = 100
			device := func(i int64) string { return fmt.Sprintf("did:example:%d", i%boxes) }
			for i := range int64(boxes) {
				n.enroll(device(i))
			}
			var count atomic.Int64
			run := func(b *testing.B, f func(i int64, data []byte) error) {
				b.SetParallelism(callers) // for each processor
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := count.Add(1)
						text := append(fmt.Appendf(nil, "%d", i), data...)
						if err := f(i, text); err != nil && !errors.Is(err, store.ErrFull) {
							b.Error(err)
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "/s")
			}
			b.Run(fmt.Sprintf("%s/%d/deposit", name, callers), func(b *testing.B) {
				run(b, func(i int64, data []byte) error {
					now := time.Now()
					id := device(i)
					return backend.mailbox.Deposit(b.Context(), store.Mail{
						ID: mediator.MailID(id, data), For: id, Packet: store.Packet{Data: data}, Time: now, Expires: now.Add(time.Hour),
					}, "bare"+id)
				})
			})
			b.Run(fmt.Sprintf("%s/%d/accept", name, callers), func(b *testing.B) {
				run(b, func(i int64, data []byte) error { return n.Accept(b.Context(), forward(device(i), string(data))) })
			})
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
}
