package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

const (
	reportType = "https://didcomm.org/report-problem/2.0/problem-report"
	emptyType  = "https://didcomm.org/empty/1.0/empty"
)

// stranger is a party that is no agent: it writes and reads its packets itself.
type stranger struct {
	*party
	w       *world
	chance  *rand.Rand // of its step alone
	host    *host
	packer  *envelope.Packer
	manners manners
}

// manners are how a stranger behaves.
type manners interface {
	// meet is called with each message that came, by w.
	meet(s *stranger, w transport.Replier, m *message.Message)
	// step does one thing.
	step(s *stranger)
}

var (
	_ role              = (*stranger)(nil)
	_ transport.Handler = (*stranger)(nil)
)

func newStranger(w *world, name string, m manners) *stranger {
	s := &stranger{party: newParty(name), w: w, chance: seeded(w.seed, name), host: w.net.host(name), manners: m}
	s.endpoints = []string{"web:" + name, "wire:" + name}
	if s.chance.IntN(2) == 0 {
		s.endpoints = s.endpoints[s.chance.IntN(2):][:1]
	}
	w.must(s.newDID(w.registry))
	s.packer = w.packer(s.keys)
	s.host.Bind(s)
	return s
}

// packer is a Packer whose DIDs always resolve.
func (w *world) packer(keys envelope.Keys) *envelope.Packer {
	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: did.ResolverFunc(w.registry.resolve)})
	w.must(err)
	return p
}

func (s *stranger) start() {
	switch s.manners.(type) {
	case ghost, flooder:
		return
	}
	for _, e := range s.endpoints {
		s.w.net.listen(e, s.host)
	}
}

func (s *stranger) step()   { s.manners.step(s) }
func (s *stranger) settle() {}
func (s *stranger) stop()   { s.host.die() }

// ServePacket takes everything.
func (s *stranger) ServePacket(ctx context.Context, w transport.Replier, p transport.Packet) (<-chan struct{}, error) {
	u, err := s.packer.Unpack(ctx, p.Data)
	if err == nil && s.w.isHonest(s.w.registry.party(u.Message.From)) {
		s.manners.meet(s, w, u.Message)
	}
	return nil, nil
}

// message makes a message to a DID.
func (s *stranger) message(typ, to string) *message.Message {
	m, err := message.New(typ, deed{})
	s.w.must(err)
	m.From, m.To = s.did(), []string{to}
	return m
}

// pack packs by authcrypt unless opts say otherwise.
func (s *stranger) pack(p *envelope.Packer, m *message.Message, opts ...envelope.PackOption) transport.Packet {
	if len(opts) == 0 {
		opts = []envelope.PackOption{envelope.From(s.did())}
	}
	list, err := p.Pack(context.Background(), m, opts...)
	s.w.must(err)
	return transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data}
}

// give sends a packet to a party, by one of its endpoints.
func (s *stranger) give(to string, p transport.Packet) {
	routes, err := s.packer.Routes(context.Background(), to)
	s.w.must(err)
	r := routes[len(p.Data)%len(routes)]
	if len(r.RoutingKeys) > 0 {
		if p.MediaType != envelope.MediaTypeEncrypted {
			return
		}
		e, err := s.packer.Forward(context.Background(), envelope.Envelope{MediaType: p.MediaType, Data: p.Data, To: to}, r.RoutingKeys)
		s.w.must(err)
		p = transport.Packet{MediaType: e.MediaType, Data: e.Data}
	}
	sender := map[string]transport.Sender{"web": web{s.host}, "wire": wire{s.host}}
	s.w.net.flights.Go(func() {
		ctx, cancel := context.WithTimeout(s.host.up, 30*time.Second)
		defer cancel()
		_ = sender[scheme(r.URI)].Send(ctx, r.URI, p)
	})
}

// say sends a message.
func (s *stranger) say(m *message.Message, opts ...envelope.PackOption) {
	s.give(m.To[0], s.pack(s.packer, m, opts...))
}

// respond answers by the connection if that takes an answer, else as say does.
func (s *stranger) respond(w transport.Replier, m *message.Message) {
	p := s.pack(s.packer, m)
	if w.Reply(s.host.up, p) != nil {
		s.give(m.To[0], p)
	}
}

// victim is the DID of an honest agent.
func (s *stranger) victim() string {
	list := s.w.honest
	return list[s.chance.IntN(len(list))].did()
}

// chat is what strangers do if they do nothing else.
func (s *stranger) chat() {
	m := s.message([]string{noteType, questionType, "https://example.org/unknown/1.0/what"}[s.chance.IntN(3)], s.victim())
	m.PleaseAck = []string{""}
	if s.chance.IntN(2) == 0 {
		m.ReturnRoute = "all"
	}
	s.say(m)
}

// ghost is never reached.
type ghost struct{}

func (ghost) meet(*stranger, transport.Replier, *message.Message) {}
func (ghost) step(*stranger)                                      {}

// mute takes everything and never says that it did.
type mute struct{}

func (mute) meet(*stranger, transport.Replier, *message.Message) {}
func (mute) step(s *stranger)                                    { s.chat() }

// liar acks what it never got.
type liar struct{}

func (liar) meet(*stranger, transport.Replier, *message.Message) {}

func (liar) step(s *stranger) {
	for range 4 {
		letters := s.w.book.all()
		for _, l := range letters[max(0, len(letters)-2):] { // those that may not have arrived
			s.ack(l)
		}
		time.Sleep(5 * time.Second)
	}
}

// ack tells the sender of a letter that it came, in one of the ways that tell it.
func (s *stranger) ack(l letter) {
	if !s.w.isHonest(l.from) {
		return
	}
	m := s.message(emptyType, s.w.member(l.from).did())
	m.Ack = []string{l.id}
	switch s.chance.IntN(3) {
	case 0:
		m.Type, m.ThreadID = answerType, l.id
	case 1:
		m.Type, m.ParentThreadID, m.Ack = reportType, l.id, nil
	}
	s.say(m)
}

// echo says everything that it hears to who said it.
type echo struct{}

func (echo) meet(s *stranger, w transport.Replier, m *message.Message) {
	e := *m
	e.From, e.To, e.FromPrior = s.did(), []string{m.From}, ""
	s.respond(w, &e)
	e.ID = message.NewID()
	s.say(&e)
}

func (echo) step(s *stranger) { s.chat() }

// quarreller has a problem with everything, reports of problems too.
type quarreller struct{}

func (quarreller) meet(s *stranger, w transport.Replier, m *message.Message) {
	r := s.message(reportType, m.From)
	r.ParentThreadID, r.PleaseAck, r.ReturnRoute = m.Thread(), []string{r.ID}, "all"
	s.respond(w, r)
	r = s.message(reportType, m.From)
	r.ThreadID = m.Thread()
	s.say(r)
}

func (quarreller) step(s *stranger) { s.chat() }

// binder wants what is for others to come by its own connections.
type binder struct{}

func (binder) meet(*stranger, transport.Replier, *message.Message) {}

func (binder) step(s *stranger) {
	switch s.chance.IntN(4) {
	case 0: // in the name of another
		s.forge()
	case 1: // in its own
		m := s.message(noteType, s.victim())
		m.ReturnRoute = "all"
		s.say(m, envelope.SignBy(s.did()), envelope.Signed())
	default: // what another has sent
		for range 3 {
			c, ok := s.w.net.anyCaptured(s.chance)
			if ok && s.w.isHonest(c.to) {
				s.replay(s.w.member(c.to), c.packet)
			}
		}
	}
}

// forge claims to be another, without its keys.
func (s *stranger) forge() {
	m, other := s.message(noteType, s.victim()), s.victim()
	m.From, m.ReturnRoute = other, "all"
	keys := s.forgedKeys(other)
	opts := [][]envelope.PackOption{
		{envelope.To(m.To[0])},
		{envelope.From(other)},
		{envelope.SignBy(other), envelope.Signed()},
	}
	s.replay(s.w.member(s.w.registry.party(m.To[0])), s.pack(s.w.packer(keys), m, opts[s.chance.IntN(len(opts))]...))
}

// replay gives a packet to a party, by a connection of the stranger's if there can be
// one.
func (s *stranger) replay(to *party, p transport.Packet) {
	for _, e := range to.reachedAt() {
		if scheme(e) == "wire" {
			s.w.net.flights.Go(func() {
				ctx, cancel := context.WithTimeout(s.host.up, 30*time.Second)
				defer cancel()
				_ = wire{s.host}.Send(ctx, e, p)
			})
			return
		}
	}
	s.give(to.did(), p)
}

// flooder writes from ever new DIDs, which cost it nothing, and which cannot be reached.
type flooder struct{}

func (flooder) meet(*stranger, transport.Replier, *message.Message) {}

func (flooder) step(s *stranger) {
	for range 10 {
		s.w.must(s.newDID(s.w.registry))
		s.chat()
	}
}

// newManners draws some, other than those of a flooder.
func newManners(chance *rand.Rand) (m manners, name string) {
	all := []manners{ghost{}, mute{}, liar{}, echo{}, quarreller{}, binder{}}
	m = all[chance.IntN(len(all))]
	return m, fmt.Sprintf("%T", m)[len("fleet_test."):]
}
