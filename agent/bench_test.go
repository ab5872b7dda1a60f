package agent_test

import (
	"context"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/transport"
)

// BenchmarkAccept sends messages of strangers to an agent, 64 at a time, until the last
// message is handled. Each message is opened, stored in the inbox and given to a handler
// that does nothing.
func BenchmarkAccept(b *testing.B) {
	b.Run("memory", func(b *testing.B) { accept(b, func(*agent.Config) {}) })
	b.Run("sqlite", func(b *testing.B) {
		s := onDisk(b)
		accept(b, func(cfg *agent.Config) { cfg.Store = s })
	})
}

// onDisk returns a store in a SQLite file.
func onDisk(b *testing.B) *sqlstore.Store {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "agent.db"), sqlstore.Config{Reclaim: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// accept reports how many messages were handled per second.
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

// BenchmarkCustody sends anonymous forwards to an agent, 64 at a time. The handler puts
// the payload into a mailbox before the forward is accepted. The case bare puts the same
// payloads into the same mailbox without an agent.
func BenchmarkCustody(b *testing.B) {
	const forward = "https://didcomm.org/routing/2.0/forward"
	deposit := func(ctx context.Context, box store.Mailbox, id string, data []byte) error {
		// Several boxes, since one box has a limit.
		return box.Deposit(ctx, store.Mail{ID: id, For: "did:example:mobile", Packet: store.Packet{Data: data}, Time: time.Now()}, "box-"+id[max(0, len(id)-2):])
	}
	// run calls put b.N times and reports the calls per second.
	run := func(b *testing.B, put func(ctx context.Context, i int) error) {
		calls, ctx := errgroup.WithContext(b.Context())
		calls.SetLimit(64)
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			calls.Go(func() error { return put(ctx, i) })
		}
		if err := calls.Wait(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	}
	b.Run("forward", func(b *testing.B) {
		box := onDisk(b).Mailbox()
		net := agenttest.NewNet()
		a := net.Agent(b, agent.NewMux(agent.Handle(agent.Protocol{
			PIURI: "https://didcomm.org/routing/2.0",
			Custody: map[string]agent.Handler{forward: agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, in *agent.Inbound) error {
				return deposit(ctx, box, in.Message.ID, in.Message.Attachments[0].Data.JSON)
			})},
		})))
		from := agenttest.NewParty(b)
		payload := note(b, from, from.DID)
		packets := make([]transport.Packet, b.N)
		for i := range packets {
			e, err := from.Packer.Forward(b.Context(), envelope.Envelope{MediaType: payload.MediaType, Data: payload.Data, To: "did:example:mobile"}, []string{a.DID()})
			if err != nil {
				b.Fatal(err)
			}
			packets[i] = transport.Packet{MediaType: e.MediaType, Data: e.Data}
		}
		run(b, func(ctx context.Context, i int) error {
			_, err := a.ServePacket(ctx, transport.NoReply{}, packets[i])
			return err
		})
	})
	b.Run("bare", func(b *testing.B) {
		box := onDisk(b).Mailbox()
		from := agenttest.NewParty(b)
		payload := note(b, from, from.DID)
		run(b, func(ctx context.Context, i int) error { return deposit(ctx, box, strconv.Itoa(i), payload.Data) })
	})
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
