package agent_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/transport"
)

// BenchmarkAccept sends an agent messages of strangers, 64 at a time, until the
// last is handled: each is opened, accepted into the inbox and given to a handler
// that does nothing.
func BenchmarkAccept(b *testing.B) {
	b.Run("memory", func(b *testing.B) { accept(b, func(*agent.Config) {}) })
	b.Run("sqlite", func(b *testing.B) {
		s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "agent.db"), sqlstore.Config{Reclaim: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
		accept(b, func(cfg *agent.Config) { cfg.Outbox, cfg.Inbox = s.Outbox(), s.Inbox() })
	})
}

// accept reports the messages that were handled in a second.
func accept(b *testing.B, configure func(*agent.Config)) {
	var handled atomic.Int64
	all := make(chan struct{})
	net := agenttest.NewNet()
	a := net.Agent(b, agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
		if handled.Add(1) == int64(b.N) {
			close(all)
		}
		return nil
	}), agenttest.Configure(configure))

	var strangers [16]*agenttest.Party
	for i := range strangers {
		strangers[i] = agenttest.NewParty(b)
	}
	doc, err := strangers[0].Resolver.Resolve(b.Context(), a.DID())
	if err != nil {
		b.Fatal(err)
	}
	endpoint := doc.DIDCommServices()[0].URI
	packets := make([]transport.Packet, b.N)
	for i := range packets {
		packets[i] = note(b, strangers[i%len(strangers)], a.DID())
	}
	sender := net.Mem.Sender()
	defer sender.Close()

	senders, ctx := errgroup.WithContext(b.Context())
	senders.SetLimit(64)
	b.ReportAllocs()
	b.ResetTimer()
	for _, p := range packets {
		senders.Go(func() error { return sender.Send(ctx, endpoint, p) })
	}
	if err := senders.Wait(); err != nil {
		b.Fatal(err)
	}
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func note(b *testing.B, from *agenttest.Party, to string) transport.Packet {
	b.Helper()
	m, err := message.New("https://example.org/note/1.0/line", map[string]string{"content": "a line of some length"})
	if err != nil {
		b.Fatal(err)
	}
	m.From, m.To = from.DID, []string{to}
	packed, err := from.Packer.Pack(b.Context(), m, envelope.From(from.DID))
	if err != nil {
		b.Fatal(err)
	}
	return transport.Packet{MediaType: packed[0].MediaType, Data: packed[0].Data}
}
