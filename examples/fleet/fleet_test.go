package fleet_test

import (
	"flag"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
)

var (
	seeds = flag.Int("seeds", 300, "how many worlds")
	seed  = flag.Int("seed", -1, "the only world, with a log")
)

// TestFleet lives through one world after the other.
func TestFleet(t *testing.T) {
	n, total := liveAll(t, *seeds, 30, false)
	if n > 0 && (total.Letters < 20*n || total.Faults < 10*n || total.Killed < n/2 || total.Told < n) {
		t.Error("too little happened")
	}
}

// TestMail lives through worlds with mediators and phones.
func TestMail(t *testing.T) {
	n, total := liveAll(t, (*seeds+3)/4, 7, true)
	if n > 0 && (total.Letters < 20*n || total.Faults < 10*n || total.Killed < n/2 || total.Mail < 10*n) {
		t.Error("too little happened")
	}
}

// liveAll lives through so many worlds, or fewer with -short, or the one that -seed names.
func liveAll(t *testing.T, n, short int, mail bool) (worlds int, total stats) {
	if *seed >= 0 {
		live(t, uint64(*seed), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})), mail)
		return 0, total
	}
	if testing.Short() {
		n = min(n, short)
	}
	var mu sync.Mutex // guards total
	t.Run("seeds", func(t *testing.T) {
		for s := range n {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				t.Parallel()
				one := live(t, uint64(s), slog.New(slog.DiscardHandler), mail)
				mu.Lock()
				defer mu.Unlock()
				total.add(one)
			})
		}
	})
	t.Logf("%d worlds: %+v", n, total)
	return n, total
}

// TestSeeds lives through worlds that something was found in. Those that name a gap
// fail with its flag.
func TestSeeds(t *testing.T) {
	if *seed >= 0 {
		t.Skip("another world is asked for")
	}
	for _, s := range []struct {
		seed uint64
		why  string
	}{
		{357, "gap-web-to-wire: an answer to a party that has moved"},
		{432, "gap-web-to-wire: a note to a party that has moved"},
		{16, "gap-two-replies"},
		{203, "gap-two-replies"},
		{628, "gap-lost-acks: the answer that a later message asked for"},
		{652, "gap-lost-acks: a later message"},
	} {
		t.Run(fmt.Sprint(s.seed, " ", s.why), func(t *testing.T) {
			t.Parallel()
			live(t, s.seed, slog.New(slog.DiscardHandler), false)
		})
	}
}

// live lives through one world.
func live(t *testing.T, seed uint64, log *slog.Logger, mail bool) (s stats) {
	synctest.Test(t, func(t *testing.T) { s = newWorld(t, seed, log, mail).run() })
	log.Info("the world ends", "stats", fmt.Sprintf("%+v", s))
	return s
}

// stats tell that something happened in a world.
type stats struct {
	Packets, Faults int
	Letters         int // between honest agents, that Send took
	Handled, Again  int // how many of them were, and were twice
	Mail            int // those of Handled that a mediator held
	Refused         int // forwards of those who send too much
	Told            int // letters of which the sender was told that they were given up
	Killed, Stopped int
	Moved, Rotated  int
}

func (s *stats) add(o stats) {
	s.Packets, s.Faults = s.Packets+o.Packets, s.Faults+o.Faults
	s.Letters, s.Handled, s.Again, s.Told = s.Letters+o.Letters, s.Handled+o.Handled, s.Again+o.Again, s.Told+o.Told
	s.Mail, s.Refused = s.Mail+o.Mail, s.Refused+o.Refused
	s.Killed, s.Stopped, s.Moved, s.Rotated = s.Killed+o.Killed, s.Stopped+o.Stopped, s.Moved+o.Moved, s.Rotated+o.Rotated
}

func (w *world) stats() (s stats) {
	s.Packets, s.Faults = w.net.traffic(), w.net.faults
	for _, l := range w.book.all() {
		switch {
		case l.buried != "":
			s.Told++
		case l.taken && w.isHonest(l.to):
			s.Letters++
			n := l.reads[l.to].done
			s.Handled += min(n, 1)
			if w.agent(l.to).phone != nil {
				s.Mail += min(n, 1)
			}
			s.Again += min(max(n-1, 0), 1)
		}
	}
	for _, h := range w.offices() {
		s.Refused += int(h.office.refused.Load())
	}
	for _, h := range w.agents() {
		s.Killed, s.Stopped = s.Killed+h.killed, s.Stopped+h.stopped
		s.Moved, s.Rotated = s.Moved+h.moves-1, s.Rotated+len(h.dids)-1
	}
	return s
}
