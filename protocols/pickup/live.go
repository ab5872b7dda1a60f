package pickup

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	maxPush   = 10   // messages in a pushed delivery
	maxPushed = 1000 // messages that a live connection is known to have, at most
	// After a failure of the store, a live connection tries again after minPause, and after
	// twice the time with each further failure, up to maxPause.
	minPause, maxPause = time.Second, time.Minute
)

// liveDeliveryChange starts or ends live mode. The first frame after the request is the
// answer, and what is pushed comes later.
func (s *server) liveDeliveryChange(ctx context.Context, r *request) error {
	if r.body.LiveDelivery == nil {
		return message.NewProblem("e.m.msg", errors.New("no live_delivery"))
	}
	if _, err := r.box.Status(ctx); err != nil {
		return err
	}
	on := r.body.LiveDelivery.is()
	switch {
	case on && (r.conn == nil || r.in.Message.ReturnRoute == "none" || r.in.Message.ReturnRoute == "thread"):
		return r.liveNotSupported(ctx)
	case !on:
		if live := s.lives.of(r); live != nil {
			live.end(errEnded)
		}
		return s.answerStatus(ctx, r, false)
	}
	if err := r.keepContact(ctx); err != nil {
		return err
	}
	if err := s.answerStatus(ctx, r, true); err != nil {
		return err
	}
	s.lives.start(s, r)
	return nil
}

// liveNotSupported reports that the connection ends with the request. 4.0 has a report of its
// own for that.
func (r *request) liveNotSupported(ctx context.Context) error {
	p := &message.Problem{Code: CodeLiveNotSupported, Comment: "Connection does not support Live Delivery"}
	if !r.form.v4 {
		return p
	}
	m, err := r.form.message("problem-report", p)
	if err != nil {
		return err
	}
	m.ParentThreadID = r.in.Message.Thread()
	return r.Reply(ctx, m)
}

// lives are the live connections by the names of their devices. A device has one.
type lives struct {
	mu       sync.Mutex
	sessions map[string]*session
}

// device returns the live connection of a device, or nil.
func (l *lives) device(id string) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sessions[mediator.Name(id)]
}

// of returns the live connection of a device if the request came by that connection, or nil.
func (l *lives) of(r *request) *session {
	if live := l.device(r.in.From); live != nil && r.conn != nil && live.conn.Done() == r.conn.Done() && live.ctx.Err() == nil {
		return live
	}
	return nil
}

// start makes the connection of a request live, in place of any other of the device.
func (l *lives) start(s *server, r *request) {
	if old := l.of(r); old != nil {
		if old.form == r.form && old.raw == r.body.Raw.is() {
			return
		}
		old.end(errEnded)
	}
	live := &session{
		s: s, box: r.box, conn: r.conn, form: r.form, raw: r.body.Raw.is(), about: r.in.Message,
		name: mediator.Name(r.in.From), pushed: make(map[string]pushed), names: make(map[string]string),
	}
	live.ctx, live.cancel = context.WithCancelCause(context.Background())
	stop := r.conn.AfterEnd(func() { live.end(errEnded) })
	live.stops = []func(){r.box.OnChange(live.signal), func() { stop() }}
	l.mu.Lock()
	old := l.sessions[live.name]
	l.sessions[live.name] = live
	l.mu.Unlock()
	if old != nil {
		old.end(errReplaced)
	}
	go live.run()
}

func (l *lives) remove(live *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[live.name] == live {
		delete(l.sessions, live.name)
	}
}

// The reasons for the end of live mode.
var (
	errEnded    = errors.New("pickup: live mode ended")
	errReplaced = errors.New("pickup: a newer connection is live")
)

// session is a live connection. One goroutine pushes mail to it.
type session struct {
	s     *server
	box   *mediator.Box
	conn  *agent.Connection
	form  form
	raw   bool
	about *message.Message // the request for live mode
	name  string           // of the device
	ctx   context.Context  // ends with live mode
	stops []func()

	cancel context.CancelCauseFunc

	leasing sync.Mutex // held while mail is leased, and while live mode is ended

	mu     sync.Mutex        // guards all below
	pushed map[string]pushed // mail without an ack, by id
	names  map[string]string // the ids of mail by rawID, if mail is pushed raw
	wake   func()            // ends the wait of the goroutine
}

// pushed is mail that was pushed and not acked.
type pushed struct {
	until time.Time // the end of the lease
	bytes int64
}

// end ends live mode. After end, the goroutine leases no mail.
func (l *session) end(cause error) {
	l.cancel(cause) // first, so that a running Lease ends
	l.leasing.Lock()
	defer l.leasing.Unlock()
}

// signal makes the goroutine look again at its rights and its window.
func (l *session) signal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake != nil {
		l.wake()
	}
}

// rawID is the id that a messages-received names for a raw frame.
func rawID(frame []byte) string {
	h := sha256.Sum256(frame)
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// named returns the ids with those of raw frames replaced by the ids of the mail. l may be nil.
func (l *session) named(ids []string) []string {
	if l == nil {
		return ids
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]string, 0, len(ids))
	for _, id := range ids {
		if name := l.names[id]; name != "" {
			id = name
		}
		list = append(list, id)
	}
	return list
}

// acked makes room in the window. l may be nil.
func (l *session) acked(ids []string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	for _, id := range ids {
		delete(l.pushed, id)
	}
	for raw, id := range l.names {
		if _, ok := l.pushed[id]; !ok {
			delete(l.names, raw)
		}
	}
	l.mu.Unlock()
	l.signal()
}

func (l *session) run() {
	err := l.push()
	l.cancel(err)
	for _, stop := range l.stops {
		stop()
	}
	l.s.lives.remove(l)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), l.s.limits.Lease)
	defer cancel()
	if ids := l.unacked(); len(ids) > 0 && !errors.Is(err, errReplaced) {
		_ = l.box.Nak(ctx, ids...) // or the leases run out
	}
	if p := farewell(err); p != nil {
		_ = l.report(ctx, p) // the connection may have ended
	}
}

// farewell returns what the client is told at the end of live mode, or nil.
func farewell(err error) *message.Problem {
	if errors.Is(err, errReplaced) {
		return &message.Problem{Code: CodeLiveReplaced, Comment: "A newer connection of this DID is live."}
	}
	return mediator.Problem(err)
}

func (l *session) report(ctx context.Context, p *message.Problem) error {
	m, err := agent.ProblemReport(p, l.about)
	if err != nil {
		return err
	}
	m.Ack = nil
	return l.conn.Push(ctx, m)
}

// push pushes mail until live mode ends, and returns the reason.
func (l *session) push() error {
	if err := l.reclaim(); err != nil {
		return err
	}
	pause := minPause
	for {
		wait, n := l.room()
		mail, err := l.lease(n)
		switch {
		case err == nil && len(mail) > 0:
			if l.write(mail) != nil {
				return errEnded
			}
			pause = minPause
			continue
		case err == nil && n > 0:
			err = l.box.Wait(wait)
		case err == nil:
			<-wait.Done()
		}
		switch {
		case l.ctx.Err() != nil:
			return context.Cause(l.ctx)
		case mediator.Problem(err) != nil:
			return err
		case err == nil || wait.Err() != nil:
			pause = minPause
		default:
			sleep(l.ctx, pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// reclaim makes mail that was delivered to a connection which is gone available at once.
func (l *session) reclaim() error {
	l.leasing.Lock()
	defer l.leasing.Unlock()
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	_ = l.box.Nak(l.ctx) // or the leases run out
	return nil
}

// lease leases at most n packets. With n = 0 it only looks at the rights of the device.
func (l *session) lease(n int) ([]store.Mail, error) {
	l.leasing.Lock()
	defer l.leasing.Unlock()
	if n == 0 {
		_, err := l.box.Status(l.ctx)
		return nil, err
	}
	return l.box.Lease(l.ctx, store.Pick{
		N: min(n, maxPush), Bytes: l.s.limits.MaxBytes, Tries: suspectTries,
	}, l.s.limits.Lease)
}

// room returns how many messages can be pushed, and a context for the wait for more: it ends
// with live mode, when signal is called, and when a lease in a full window runs out.
func (l *session) room() (wait context.Context, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake != nil {
		l.wake()
	}
	now, size := time.Now(), int64(0)
	var first time.Time
	n = l.s.limits.Window
	for _, p := range l.pushed {
		if p.until.After(now) {
			n, size = n-1, size+p.bytes
			if first.IsZero() || p.until.Before(first) {
				first = p.until
			}
		}
	}
	if n = max(n, 0); size >= l.s.limits.WindowBytes {
		n = 0
	}
	if n == 0 {
		wait, l.wake = context.WithDeadline(l.ctx, first)
	} else {
		wait, l.wake = context.WithCancel(l.ctx)
	}
	return wait, n
}

// write pushes mail, each in a delivery of its own: some clients drop a whole delivery for one
// attachment that they cannot open. A suspect that the connection has got before is not pushed
// there again.
func (l *session) write(mail []store.Mail) error {
	l.mu.Lock()
	until := time.Now().Add(l.s.limits.Lease)
	var fresh []store.Mail
	if len(l.pushed) > maxPushed {
		clear(l.pushed)
		clear(l.names)
	}
	for _, m := range mail {
		if _, again := l.pushed[m.ID]; !again || m.Deliveries <= suspectTries {
			fresh = append(fresh, m)
		}
		l.pushed[m.ID] = pushed{until, int64(len(m.Packet.Data))}
		if l.raw {
			l.names[rawID(m.Packet.Data)] = m.ID
		}
	}
	l.mu.Unlock()
	for i, m := range fresh {
		if l.raw {
			if err := l.conn.Relay(l.ctx, agent.Packet(m.Packet)); err != nil {
				return err
			}
			continue
		}
		d, err := newDelivery(l.form, nil, fresh[i:i+1])
		if err != nil {
			return err
		}
		if err := l.conn.Push(l.ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (l *session) unacked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for id := range l.pushed {
		ids = append(ids, id)
	}
	return ids
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
