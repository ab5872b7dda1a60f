package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

func noInterrupt() {}

func TestBudgetReadAll(t *testing.T) {
	const limit = 300 << 10
	b := transport.NewBudget(4 << 20)
	broken := errors.New("broken")
	for _, n := range []int{0, 1, 4 << 10, 4<<10 + 1, 16 << 10, 16<<10 + 1, 200_000, limit, limit + 1, 2 * limit} {
		want := bytes.Repeat([]byte("0123456789"), n/10+1)[:n]
		for _, size := range []int64{-1, 0, 1, int64(n), 1 << 40} {
			for name, r := range map[string]io.Reader{
				"whole":  bytes.NewReader(want),
				"pieces": iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(want))),
				"broken": io.MultiReader(bytes.NewReader(want), iotest.ErrReader(broken)),
			} {
				data, release, err := b.ReadAll(r, size, limit, noInterrupt)
				wantErr := error(nil)
				if n > limit {
					wantErr = transport.ErrTooLarge
				} else if name == "broken" {
					wantErr = broken
				}
				if !errors.Is(err, wantErr) || (err == nil) != (release != nil) {
					t.Fatalf("%d bytes, %s: %v, want %v", n, name, err, wantErr)
				}
				if err != nil {
					continue
				}
				if !bytes.Equal(data, want) {
					t.Errorf("%d bytes, %s: got %d bytes, or others", n, name, len(data))
				}
				if b.Used() < int64(n) {
					t.Errorf("%d bytes, %s: only %d are used", n, name, b.Used())
				}
				release()
			}
		}
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

// A sender gets memory for what it has sent, not for what it announces.
func TestBudgetIsTakenAsBytesArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := transport.NewBudget(64 << 20)
		s := begin(b, 5<<20)
		s.send(1)
		if got := b.Used(); got > 16<<10 {
			t.Errorf("%d bytes for one", got)
		}
		s.send(1 << 20)
		if got := b.Used(); got > 1<<20+64<<10+1 {
			t.Errorf("%d bytes for a MiB", got)
		}
		s.end()
		if err := <-s.err; err != nil || b.Used() != 0 {
			t.Errorf("%v, %d bytes are left", err, b.Used())
		}
	})
}

// sender sends to a ReadAll inside of a synctest bubble.
type sender struct {
	w   *io.PipeWriter
	err chan error // of ReadAll, whose data is released
}

func begin(b *transport.Budget, size int64) *sender {
	r, w := io.Pipe()
	s := &sender{w, make(chan error, 1)}
	interrupted, interrupt := context.WithCancel(context.Background())
	go func() {
		<-interrupted.Done()
		r.CloseWithError(errors.New("interrupted"))
	}()
	go func() {
		defer interrupt()
		_, release, err := b.ReadAll(r, size, size, interrupt)
		if err == nil {
			release()
		}
		s.err <- err
	}()
	return s
}

// send sends n bytes, as far as they are read.
func (s *sender) send(n int) {
	_, _ = s.w.Write(make([]byte, n))
	synctest.Wait()
}

func (s *sender) end() {
	s.w.Close()
	synctest.Wait()
}

// When the budget is used up, the slowest go first, and a fast one stays.
func TestBudgetGivesUpTheSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := transport.NewBudget(2 << 20)
		var slow []*sender
		for range 5 {
			slow = append(slow, begin(b, 1<<20))
		}
		for _, s := range slow {
			s.send(300 << 10)
		}
		time.Sleep(3 * time.Second) // of the bubble
		fast := begin(b, 1<<20)
		for i := range 8 {
			for j, s := range slow {
				s.send(1 << j)
			}
			if i > 0 {
				fast.send(80 << 10)
			}
			time.Sleep(time.Second)
		}
		var over []int
		for i, s := range slow {
			select {
			case err := <-s.err:
				if !errors.Is(err, transport.ErrBudget) {
					t.Errorf("sender %d: %v", i, err)
				}
				over = append(over, i)
			default:
			}
		}
		if !slices.Equal(over, []int{0}) {
			t.Errorf("the slow senders %d were given up, want the first", over)
		}
		fast.end()
		if err := <-fast.err; err != nil {
			t.Errorf("fast sender: %v", err)
		}
		broken := errors.New("broken")
		for _, s := range slow {
			s.w.CloseWithError(broken)
		}
		if err := <-slow[4].err; !errors.Is(err, broken) {
			t.Errorf("the fastest slow sender: %v", err)
		}
		for _, s := range slow[1:4] {
			<-s.err
		}
		if b.Used() != 0 {
			t.Errorf("%d bytes are left", b.Used())
		}
	})
}

// A sender that is slower than all others is refused itself, except for a small message.
func TestBudgetRefusesASlowSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := transport.NewBudget(1 << 20)
		slow := begin(b, 1<<20)
		slow.send(100 << 10)
		time.Sleep(5 * time.Second)
		var fast []*sender
		for range 2 {
			fast = append(fast, begin(b, 1<<20))
		}
		for range 4 {
			for _, s := range fast {
				s.send(100 << 10)
			}
			time.Sleep(time.Second)
		}
		slow.send(200 << 10)
		if err := <-slow.err; !errors.Is(err, transport.ErrBudget) {
			t.Errorf("slow sender: %v", err)
		}
		small := begin(b, 1<<10)
		small.send(1 << 10)
		small.end()
		if err := <-small.err; err != nil {
			t.Errorf("small message: %v", err)
		}
		for _, s := range fast {
			s.end()
			if err := <-s.err; err != nil {
				t.Errorf("fast sender: %v", err)
			}
		}
		if b.Used() != 0 {
			t.Errorf("%d bytes are left", b.Used())
		}
	})
}

// Messages that are being opened are not given up, and leave room for small ones.
func TestBudgetOfOpenedMessages(t *testing.T) {
	b := transport.NewBudget(1 << 20)
	var releases []func()
	read := func(n int) error {
		_, release, err := b.ReadAll(bytes.NewReader(make([]byte, n)), int64(n), 1<<20, noInterrupt)
		if err == nil {
			releases = append(releases, release)
		}
		return err
	}
	for range 3 {
		if err := read(60 << 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := read(60 << 10); !errors.Is(err, transport.ErrBudget) {
		t.Errorf("a fourth large message: %v", err)
	}
	for range 10 {
		if err := read(8 << 10); err != nil {
			t.Errorf("small message: %v", err)
		}
	}
	for _, release := range releases {
		release()
	}
	releases = nil
	if err := read(900 << 10); err != nil {
		t.Errorf("the only message: %v", err)
	}
	releases[0]()
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

// The budget holds with many senders at once, and nothing of it is lost.
func TestBudgetConcurrent(t *testing.T) {
	const limit = 1 << 20
	b := transport.NewBudget(limit)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 20 {
				n := rand.Int64N(200 << 10)
				ctx, interrupt := context.WithCancel(t.Context())
				r := iotest.HalfReader(io.LimitReader(zeros{ctx}, n))
				data, release, err := b.ReadAll(r, []int64{-1, n}[n%2], 1<<20, interrupt)
				if used := b.Used(); used > limit {
					t.Errorf("%d bytes are used", used)
				}
				switch {
				case err == nil && int64(len(data)) == n:
					release()
				case !errors.Is(err, transport.ErrBudget):
					t.Errorf("%d of %d bytes, %v", len(data), n, err)
				}
				interrupt()
			}
		})
	}
	all.Wait()
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

// zeros is endless, until ctx ends.
type zeros struct{ ctx context.Context }

func (z zeros) Read(b []byte) (int, error) { return len(b), z.ctx.Err() }

func TestDefaultBudget(t *testing.T) {
	unlimited := transport.DefaultBudget()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(200 << 20))
	if got := transport.DefaultBudget(); got != 25<<20 {
		t.Errorf("%d bytes of 200 MiB", got)
	}
	debug.SetMemoryLimit(1 << 20)
	if got := transport.DefaultBudget(); got != 16<<20 {
		t.Errorf("%d bytes of 1 MiB", got)
	}
	if unlimited < 16<<20 || unlimited > 256<<20 {
		t.Errorf("%d bytes of this machine", unlimited)
	}
}

func BenchmarkBudgetReadAll(b *testing.B) {
	for name, n := range map[string]int{"3KiB": 3 << 10, "5MiB": 5 << 20} {
		b.Run(name, func(b *testing.B) {
			budget := transport.NewBudget(0)
			data := make([]byte, n)
			b.ReportAllocs()
			for b.Loop() {
				_, release, err := budget.ReadAll(bytes.NewReader(data), int64(n), 5<<20, noInterrupt)
				if err != nil {
					b.Fatal(err)
				}
				release()
			}
		})
	}
}
