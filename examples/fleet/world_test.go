package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

// role is somebody who lives in a world.
type role interface {
	start()
	// step does one thing of what the role does all day.
	step()
	// settle makes it well: it does no more by itself, and stays where it is.
	settle()
	// stop ends it, and waits.
	stop()
}

// faults are what befalls honest agents.
type faults struct {
	kill, stop, move, rotate bool
	resolve                  float64 // the part of resolutions that fail
}

// world is one seed.
type world struct {
	t        *testing.T
	seed     uint64
	log      *slog.Logger
	faults   faults
	net      *network
	registry *registry
	book     *book

	honest    []*honest
	devices   []*honest // the other devices of phones
	strangers []*stranger
	still     int             // packets in the last hour
	days      context.Context // ends with the faults
	evening   context.CancelFunc
}

// Gaps that are known. Worlds go around them, unless a flag says
// otherwise: then a seed in some hundred fails.
var (
	// A handler replies, and then returns a Problem. If the reply is lost on the
	// connection, and the report, which acks too, is not, the message does not come
	// again, and so neither does the reply.
	twoReplies = flag.Bool("gap-two-replies", false, "let handlers reply and return a problem")
	// A phone leaves mail at the mediator while the DID of its sender does not resolve, and
	// takes what comes after it. That may be mail of the same sender.
	leftMail = flag.Bool("gap-left-mail", false, "expect order of mail although resolvers fail")
)

const (
	steps     = 25 // of each role
	stepPause = 2 * time.Minute
	aftermath = 4 * 24 * time.Hour // longer than Config.MaxAge
)

// newWorld draws a world, of which a part may be mediators and phones.
func newWorld(t *testing.T, seed uint64, log *slog.Logger, mail bool) *world {
	chance := seeded(seed, "world")
	w := &world{t: t, seed: seed, log: log, registry: newRegistry(), book: newBook()}
	w.days, w.evening = context.WithCancel(context.Background())
	often := func(n int) bool { return chance.IntN(n) > 0 }
	w.faults = faults{kill: often(3), stop: often(3), move: often(4), rotate: often(4)}
	weather := weather{delay: 2 * time.Second, slow: 0.1}
	if often(8) { // else there are delays alone
		weather.lose = []float64{0.01, 0.05, 0.2}[chance.IntN(3)]
		weather.duplicate = []float64{0, 0.05, 0.2}[chance.IntN(3)]
		weather.cut = []float64{0.01, 0.05, 0.15}[chance.IntN(3)]
		w.faults.resolve = []float64{0, 0.05, 0.2}[chance.IntN(3)]
	}
	w.net = newNetwork(seed, weather, w.must)
	if mail {
		w.addMail(chance)
		return w
	}
	for i := range 2 + chance.IntN(3) {
		w.honest = append(w.honest, newHonest(w, fmt.Sprintf("agent%d", i)))
	}
	for i := range 1 + chance.IntN(3) {
		m, name := newManners(chance)
		w.strangers = append(w.strangers, newStranger(w, fmt.Sprintf("%s%d", name, i), m))
	}
	if seeded(seed, "flood").IntN(4) == 0 {
		w.strangers = append(w.strangers, newStranger(w, "flooder", flooder{}))
	}
	return w
}

// must ends the test where the world itself, or an agent, does what it never may.
func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Errorf("%v", err)
	}
}

func (w *world) resolver(name string) did.Resolver {
	return w.registry.resolver(seeded(w.seed, "resolver of "+name), w.faults.resolve)
}

func (w *world) roles() (all []role) {
	for _, h := range w.agents() {
		all = append(all, h)
	}
	for _, s := range w.strangers {
		all = append(all, s)
	}
	return all
}

// agents are all of the honest ones.
func (w *world) agents() []*honest { return slices.Concat(w.honest, w.devices) }

// readers are the agents of a party, each of which handles all letters.
func (w *world) readers(name string) (list []*honest) {
	for _, h := range w.agents() {
		if h.name == name {
			list = append(list, h)
		}
	}
	return list
}

// agent is the honest agent of a name, or nil.
func (w *world) agent(name string) *honest {
	for _, h := range w.honest {
		if h.name == name {
			return h
		}
	}
	return nil
}

// stranger is the stranger of a name, or nil.
func (w *world) stranger(name string) *stranger {
	for _, s := range w.strangers {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (w *world) isHonest(name string) bool { return w.agent(name) != nil }

func (w *world) parties() (all []*party) {
	for _, h := range w.honest {
		all = append(all, h.party)
	}
	for _, s := range w.strangers {
		all = append(all, s.party)
	}
	return all
}

// member is the party of a name.
func (w *world) member(name string) *party {
	for _, p := range w.parties() {
		if p.name == name {
			return p
		}
	}
	return nil
}

// others are the names of all but one party. Honest ones are named twice, so that
// there is more traffic between them.
func (w *world) others(h *honest) (names []string) {
	for _, p := range w.parties() {
		if p.name == h.name {
			continue
		}
		names = append(names, p.name)
		if w.isHonest(p.name) {
			names = append(names, p.name)
		}
	}
	return names
}

// firstDID is the DID that everybody knows of a party.
func (w *world) firstDID(name string) string {
	p := w.member(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dids[0]
}

// run lives through a world, and says what does not hold in the end.
func (w *world) run() stats {
	for _, r := range w.roles() {
		r.start()
	}
	var days sync.WaitGroup
	for i, r := range w.roles() {
		chance := seeded(w.seed, fmt.Sprint("pauses ", i))
		days.Go(func() {
			for range steps {
				r.step()
				time.Sleep(time.Duration(chance.Int64N(int64(stepPause))))
			}
		})
	}
	days.Wait()
	w.log.Info("the faults end")
	w.net.calm()
	w.registry.soothe()
	w.evening()
	for _, r := range w.roles() {
		r.settle()
	}
	time.Sleep(aftermath)
	for _, h := range w.agents() {
		if h.phone != nil {
			h.phone.hush()
		}
	}
	before := w.net.traffic()
	time.Sleep(time.Hour)
	w.still = w.net.traffic() - before
	for _, i := range invariants {
		i.check(w, func(format string, args ...any) { w.t.Errorf(i.name+": "+format, args...) })
	}
	happened := w.stats()
	for _, r := range w.roles() {
		r.stop()
	}
	w.net.flights.Wait()
	return happened
}
