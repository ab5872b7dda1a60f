package pickup_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/transport"
)

// socket is a connection that stays open.
type socket struct {
	p      *phone
	life   context.Context
	close  context.CancelFunc // ends life
	done   <-chan struct{}    // of life
	frames chan transport.Packet
}

func (p *phone) dial(t testing.TB) *socket {
	s := &socket{p: p, frames: make(chan transport.Packet, 1000)}
	s.life, s.close = context.WithCancel(context.Background())
	s.done = s.life.Done()
	t.Cleanup(s.close)
	return s
}

// Reply implements transport.Replier.
func (s *socket) Reply(_ context.Context, p transport.Packet) error {
	select {
	case <-s.done:
		return transport.ErrNoReturnRoute
	case s.frames <- p:
		return nil
	}
}

// Done implements transport.Session.
func (s *socket) Done() <-chan struct{} { return s.done }

// AfterEnd costs no goroutine, as with a WebSocket.
func (s *socket) AfterEnd(f func()) (stop func() bool) { return context.AfterFunc(s.life, f) }

// send sends a request as a frame. In a bubble it returns when all answers are there.
func (s *socket) send(t testing.TB, typ, body string, edit ...func(*message.Message)) *message.Message {
	t.Helper()
	m, packet := s.p.request(t, typ, body, edit...)
	s.serve(t, packet)
	return m
}

func (s *socket) serve(t testing.TB, packet transport.Packet) {
	t.Helper()
	handled, err := s.p.o.agent.ServePacket(t.Context(), s, packet)
	if err != nil && !errors.As(err, new(*transport.RejectError)) { // the report is among the frames
		t.Errorf("ServePacket: %v", err)
	}
	if handled != nil {
		<-handled
	}
}

// next returns the next frame, opened.
func (s *socket) next(t testing.TB) *message.Message {
	t.Helper()
	select {
	case p := <-s.frames:
		return s.p.open(t, p)
	case <-time.After(time.Second): // of the bubble
		t.Fatal("no frame")
		return nil
	}
}

// pushed returns all mail in the frames that are there, and their ids.
func (s *socket) pushed(t testing.TB) (packets, ids []string) {
	t.Helper()
	synctest.Wait()
	for len(s.frames) > 0 {
		m := s.next(t)
		if m.ThreadID != "" {
			t.Errorf("pushed in thread %s", m.ThreadID)
		}
		ps, is := contents(t, m)
		packets, ids = append(packets, ps...), append(ids, is...)
	}
	return packets, ids
}

// live asks for live mode, and takes the answer.
func (s *socket) live(t testing.TB, piuri string) {
	t.Helper()
	s.send(t, piuri+"live-delivery-change", `{"live_delivery":true}`)
	if m := s.next(t); m.Type != piuri+"status" {
		t.Fatalf("answer %s %s", m.Type, m.Body)
	}
}

func (s *socket) wantPushed(t testing.TB, want ...string) (ids []string) {
	t.Helper()
	got, ids := s.pushed(t)
	if !slices.Equal(got, want) {
		t.Errorf("pushed %q, want %q", got, want)
	}
	return ids
}

// Mail is pushed, and is queued until its ack.
func TestLive(t *testing.T) {
	for name, piuri := range map[string]string{"3.0": mp3, "4.0": mp4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, pickup.ServeLimits{})
				p := o.newPhone(t)
				s := p.dial(t)
				o.accept(t, p.DID, mail(1)...)
				request := s.send(t, piuri+"live-delivery-change", `{"live_delivery":true}`)
				answer := s.next(t)
				if answer.Type != piuri+"status" || answer.ThreadID != request.ID {
					t.Errorf("the first frame is %+v", answer)
				}
				ids := s.wantPushed(t, mail(1)...)
				o.accept(t, p.DID, `{"new":1}`)
				ids = append(ids, s.wantPushed(t, `{"new":1}`)...)
				if n := o.waiting(t, p.DID); n != 2 {
					t.Errorf("%d are queued", n)
				}
				s.send(t, piuri+"messages-received", idList(ids...))
				if piuri == mp3 {
					wants(t, s.next(t), mp3+"status", `{"message_count":0,"total_bytes":0,"live_delivery":true}`)
				}
				if n := o.waiting(t, p.DID); n != 0 {
					t.Errorf("%d are queued", n)
				}
				s.wantPushed(t)
				// After the end of live mode nothing is pushed.
				s.send(t, piuri+"live-delivery-change", `{"live_delivery":false}`)
				wants(t, s.next(t), piuri+"status", `{"message_count":0,"total_bytes":0,"live_delivery":false}`)
				o.accept(t, p.DID, mail(2)...)
				s.wantPushed(t)
				if n := o.waiting(t, p.DID); n != 2 {
					t.Errorf("%d are queued", n)
				}
			})
		})
	}
}

// Each delivery has one attachment, since some clients drop all for one that they cannot open.
func TestOneEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t)
		s := p.dial(t)
		o.accept(t, p.DID, mail(3)...)
		s.live(t, mp3)
		for _, want := range mail(3) {
			if packets, _ := contents(t, s.next(t)); len(packets) != 1 || packets[0] != want {
				t.Errorf("%q are pushed together, want %q", packets, want)
			}
		}
	})
}

// Mail without an ack is pushed again after a minute. After five times it is not pushed again
// on the same connection, and does not hold up the rest.
func TestPushedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t)
		s := p.dial(t)
		s.live(t, mp4)
		o.accept(t, p.DID, mail(1)...)
		for i := range 5 {
			s.wantPushed(t, mail(1)...)
			if i < 4 {
				time.Sleep(59 * time.Second)
				s.wantPushed(t)
				time.Sleep(time.Second)
			}
		}
		time.Sleep(time.Hour)
		s.wantPushed(t)
		o.accept(t, p.DID, `{"new":1}`)
		s.wantPushed(t, `{"new":1}`)
		other := p.dial(t)
		other.live(t, mp4)
		if got, _ := other.pushed(t); len(got) != 2 {
			t.Errorf("pushed %q", got)
		}
	})
}

// What was pushed to a socket that is dead goes to the next one at once.
func TestDeadSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t)
		dead := p.dial(t)
		dead.live(t, mp4)
		o.accept(t, p.DID, mail(3)...)
		dead.wantPushed(t, mail(3)...)
		dead.close()
		synctest.Wait()
		s := p.dial(t)
		s.live(t, mp4)
		s.wantPushed(t, mail(3)...)
	})
}

// The newest socket of a device is live. The older one is told, and gets nothing any more.
func TestNewestSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t)
		older, newer := p.dial(t), p.dial(t)
		older.live(t, mp4)
		o.accept(t, p.DID, mail(2)...)
		older.wantPushed(t, mail(2)...)
		newer.live(t, mp4)
		synctest.Wait()
		wantsProblem(t, older.next(t), pickup.CodeLiveReplaced)
		newer.wantPushed(t, mail(2)...)
		o.accept(t, p.DID, `{"new":1}`)
		newer.wantPushed(t, `{"new":1}`)
		older.wantPushed(t)
		// The end of the older one changes nothing.
		older.close()
		o.accept(t, p.DID, `{"new":2}`)
		newer.wantPushed(t, `{"new":2}`)
	})
}

// A socket that asks twice stays live, and gets nothing twice.
func TestLiveTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t)
		s := p.dial(t)
		s.live(t, mp4)
		o.accept(t, p.DID, mail(2)...)
		s.wantPushed(t, mail(2)...)
		s.live(t, mp4)
		s.wantPushed(t)
		o.accept(t, p.DID, `{"new":1}`)
		s.wantPushed(t, `{"new":1}`)
	})
}

// So much is pushed without an ack, and no more. An ack by another connection makes room.
func TestWindow(t *testing.T) {
	for name, limits := range map[string]pickup.ServeLimits{
		"messages": {Window: 12},
		"bytes":    {WindowBytes: 200, MaxBytes: 20}, // messages of 19 or 20 bytes
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, limits)
				p := o.newPhone(t)
				s := p.dial(t)
				s.live(t, mp4)
				o.accept(t, p.DID, mail(40)...)
				got, ids := s.pushed(t)
				if len(got) < 10 || len(got) > 12 {
					t.Errorf("%d are pushed", len(got))
				}
				time.Sleep(30 * time.Second)
				s.wantPushed(t)
				p.post(t, mp4+"messages-received", idList(ids[:5]...))
				if got, _ := s.pushed(t); len(got) != 5 {
					t.Errorf("%d more are pushed", len(got))
				}
				time.Sleep(31 * time.Second)
				if got, _ := s.pushed(t); len(got) == 0 {
					t.Error("nothing is pushed after a minute")
				}
			})
		})
	}
}

// A delivery-request on the live connection does not repeat what was pushed. One on another
// connection does.
func TestRequestWhileLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{Window: 2})
		p := o.newPhone(t)
		s := p.dial(t)
		s.live(t, mp4)
		o.accept(t, p.DID, mail(3)...)
		s.wantPushed(t, mail(2)...)
		request := s.send(t, mp4+"delivery-request", `{"message_count_limit":10}`)
		m := s.next(t)
		if got, _ := contents(t, m); m.ThreadID != request.ID || !slices.Equal(got, mail(3)[2:]) {
			t.Errorf("delivered %q", got)
		}
		if got, _ := contents(t, p.post(t, mp4+"delivery-request", `{"message_count_limit":10}`)); !slices.Equal(got, mail(3)) {
			t.Errorf("delivered %q", got)
		}
		// To end live mode on another connection changes nothing.
		p.post(t, mp4+"live-delivery-change", `{"live_delivery":false}`)
		_, ids := contents(t, p.post(t, mp4+"delivery-request", `{}`))
		p.post(t, mp4+"messages-received", idList(ids...))
		o.accept(t, p.DID, `{"new":1}`)
		s.wantPushed(t, `{"new":1}`)
	})
}

// Raw frames are what was forwarded. An ack names the digest of a frame.
func TestRaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t)
		s := p.dial(t)
		s.send(t, mp3+"live-delivery-change", `{"live_delivery":true,"raw":true}`)
		s.next(t)
		o.accept(t, p.DID, mail(2)...)
		synctest.Wait()
		var got, ids []string
		for len(s.frames) > 0 {
			f := <-s.frames
			sum := sha256.Sum256(f.Data)
			got, ids = append(got, string(f.Data)), append(ids, base64.RawURLEncoding.EncodeToString(sum[:]))
		}
		if !slices.Equal(got, mail(2)) {
			t.Errorf("pushed %q", got)
		}
		p.post(t, mp3+"messages-received", idList(ids[0], "unknown"))
		if n := o.waiting(t, p.DID); n != 1 {
			t.Errorf("%d are queued", n)
		}
		s.send(t, mp3+"messages-received", idList(ids[1]))
		if n := o.waiting(t, p.DID); n != 0 {
			t.Errorf("%d are queued", n)
		}
	})
}

// A copy of a request for live mode makes no other socket live.
func TestReplayedLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t)
		s, thief := p.dial(t), p.dial(t)
		_, packet := p.request(t, mp4+"live-delivery-change", `{"live_delivery":true}`)
		s.serve(t, packet)
		s.next(t)
		thief.serve(t, packet)
		o.accept(t, p.DID, mail(1)...)
		s.wantPushed(t, mail(1)...)
		synctest.Wait()
		if len(thief.frames) != 0 {
			t.Errorf("the thief got %+v", thief.next(t))
		}
	})
}

// A device cannot be live on a socket that it does not accept messages on.
func TestLiveWithoutRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		for _, route := range []string{"none", "thread"} {
			p := o.newPhone(t, "mem://phone-"+route)
			s := p.dial(t)
			s.send(t, mp3+"live-delivery-change", `{"live_delivery":true}`, func(m *message.Message) { m.ReturnRoute = route })
			o.accept(t, p.DID, mail(1)...)
			synctest.Wait()
			for len(s.frames) > 0 {
				wantsProblem(t, s.next(t), pickup.CodeLiveNotSupported)
			}
		}
		// didcomm-messaging for Python says nothing.
		p := o.newPhone(t)
		s := p.dial(t)
		s.send(t, mp3+"live-delivery-change", `{"live_delivery":true}`, func(m *message.Message) { m.ReturnRoute = "" })
		s.next(t)
		o.accept(t, p.DID, mail(1)...)
		s.wantPushed(t, mail(1)...)
	})
}

// Phones that are idle cost a goroutine each, and nothing is sent to them.
func TestIdlePhones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		var sockets []*socket
		first := o.newPhone(t).dial(t)
		first.live(t, mp4)
		synctest.Wait()
		before := runtime.NumGoroutine()
		for range 50 {
			s := o.newPhone(t).dial(t)
			s.live(t, mp4)
			sockets = append(sockets, s)
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 50+10 { // others of the process come and go
			t.Errorf("%d goroutines for 50 phones", n)
		}
		time.Sleep(24 * time.Hour)
		for i, s := range sockets {
			o.accept(t, s.p.DID, fmt.Sprintf(`{"n":%d}`, i))
		}
		for i, s := range sockets {
			s.wantPushed(t, fmt.Sprintf(`{"n":%d}`, i))
		}
	})
}

// A block ends live mode at once, and the device is told.
func TestBlockedWhileLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{Window: 2})
		for name, waiting := range map[string]int{"idle": 0, "full window": 5} {
			p := o.newPhone(t)
			s := p.dial(t)
			s.live(t, mp4)
			o.accept(t, p.DID, mail(waiting)...)
			s.pushed(t)
			start := time.Now()
			if err := o.Block(t.Context(), p.DID); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			wantsProblem(t, s.next(t), "e.p.req.blocked")
			if time.Since(start) != 0 {
				t.Errorf("%s: told after %v", name, time.Since(start))
			}
			s.send(t, mp4+"delivery-request", `{}`)
			wantsProblem(t, s.next(t), "e.p.req.blocked")
			if err := o.Unblock(t.Context(), p.DID); err != nil {
				t.Fatal(err)
			}
			o.accept(t, p.DID, `{"new":1}`)
			s.wantPushed(t)
		}
	})
}

// The devices of an account get everything each, and an ack of one takes nothing from the
// other.
func TestTwoDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		one, two := o.newPhone(t), &phone{agenttest.NewParty(t), o}
		if _, _, err := o.Join(t.Context(), one.DID, two.DID, "ticket", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		a, b := one.dial(t), two.dial(t)
		a.live(t, mp4)
		b.live(t, mp3)
		o.accept(t, one.DID, mail(2)...)
		ids := a.wantPushed(t, mail(2)...)
		b.wantPushed(t, mail(2)...)
		a.send(t, mp4+"messages-received", idList(ids...))
		if n, m := o.waiting(t, one.DID), o.waiting(t, two.DID); n != 0 || m != 2 {
			t.Errorf("%d and %d are queued", n, m)
		}
		if got, _ := contents(t, two.post(t, mp3+"delivery-request", `{}`)); !slices.Equal(got, mail(2)) {
			t.Errorf("delivered %q", got)
		}
	})
}
