// Package transporttest is the conformance suite of transports: it tests that they keep
// the contracts of transport.Sender, Handler, Replier and Binder. Call [Run] in a test of
// the transport:
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, func(t *testing.T, server, client transport.Handler) transporttest.Link { ... })
//	}
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
)

// Link is a sender and a running receiver of the transport under test.
type Link struct {
	// Sender is the sender. If it is a transport.Binder, it is bound to the Handler
	// client of Start.
	Sender transport.Sender
	// Endpoint is the endpoint of the receiver.
	Endpoint string
	// Dead is a well-formed endpoint without a receiver.
	Dead string
	// MaxBytes is the size of the largest packet that the receiver accepts, in bytes.
	MaxBytes int
	// Session says that each Replier of the transport is a transport.Session.
	Session bool
	// OneWay says that Send does not get an error if the receiver does not accept a
	// packet. It is the opposite of Sender.Receipts.
	OneWay bool
	// Budget is that of the receiver and of the sender, whose size is four times MaxBytes.
	// It is nil if the transport does not read from a network.
	Budget *transport.Budget
}

// Start starts a receiver that passes packets to server, and a sender that passes the
// packets that come back to client. It stops both with t.Cleanup.
type Start func(t *testing.T, server, client transport.Handler) Link

// Run tests a transport. It calls start several times.
func Run(t *testing.T, start Start) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Start)
	}{
		{"Deliver", testDeliver},
		{"DataIsOwned", testDataIsOwned},
		{"Reply", testReply},
		{"ReplyEnds", testReplyEnds},
		{"ReplyLate", testReplyLate},
		{"Unhandled", testUnhandled},
		{"UnhandledReply", testUnhandledReply},
		{"Session", testSession},
		{"SendOn", testSendOn},
		{"Concurrent", testConcurrent},
		{"HandlerErrors", testHandlerErrors},
		{"Panic", testPanic},
		{"Limit", testLimit},
		{"Budget", testBudget},
		{"BudgetOfReplies", testBudgetOfReplies},
		{"Endpoints", testEndpoints},
		{"NotDIDComm", testNotDIDComm},
		{"Context", testContext},
		{"Close", testClose},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, start) })
	}
}

func packet(s string) transport.Packet {
	return transport.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte(s)}
}

// collect returns a Handler, and a channel with the packets that it gets.
func collect(n int) (transport.Handler, <-chan transport.Packet) {
	got := make(chan transport.Packet, n)
	return transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
		got <- p
		return nil
	}), got
}

func unexpected(t *testing.T, who string) transport.Handler {
	return transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
		t.Errorf("%s got an unexpected packet of %d bytes", who, len(p.Data))
		return nil
	})
}

func mustSend(t *testing.T, l Link, p transport.Packet) {
	t.Helper()
	if err := l.Sender.Send(t.Context(), l.Endpoint, p); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func sendError(t *testing.T, err error, retryable bool) *transport.SendError {
	t.Helper()
	var e *transport.SendError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *transport.SendError", err)
	}
	if e.Retryable != retryable {
		t.Fatalf("retryable is %v, want %v: %v", e.Retryable, retryable, err)
	}
	if e.Err == nil {
		t.Fatalf("no cause in %#v", e)
	}
	return e
}

func testDeliver(t *testing.T, start Start) {
	server, got := collect(1)
	l := start(t, server, unexpected(t, "client"))
	for _, want := range []transport.Packet{
		{MediaType: transport.MediaTypePlain, Data: []byte(`{"id":"1"}`)},
		{MediaType: transport.MediaTypeSigned, Data: []byte(`{"payload":"ü"}`)},
		{MediaType: transport.MediaTypeEncrypted, Data: bytes.Repeat([]byte("0123456789abcdef"), l.MaxBytes/16)},
	} {
		mustSend(t, l, want)
		p := <-got
		if !bytes.Equal(p.Data, want.Data) {
			t.Errorf("got %d bytes, want the %d sent", len(p.Data), len(want.Data))
		}
		if p.MediaType != want.MediaType && p.MediaType != "" {
			t.Errorf("media type %q, want %q or none", p.MediaType, want.MediaType)
		}
	}
}

func testDataIsOwned(t *testing.T, start Start) {
	server, got := collect(1)
	l := start(t, server, unexpected(t, "client"))
	p := packet("before")
	mustSend(t, l, p)
	copy(p.Data, "after!")
	if q := <-got; string(q.Data) != "before" {
		t.Errorf("the receiver's packet changed with the sender's: %s", q.Data)
	}
}

func testReply(t *testing.T, start Start) {
	client, answers := collect(1)
	l := start(t, transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		return w.Reply(ctx, packet("re: "+string(p.Data)))
	}), client)
	for i := range 3 {
		mustSend(t, l, packet(fmt.Sprint("hello ", i)))
		if p, want := <-answers, fmt.Sprint("re: hello ", i); string(p.Data) != want {
			t.Errorf("answer %q, want %q", p.Data, want)
		}
	}
}

func testReplyEnds(t *testing.T, start Start) {
	client, _ := collect(2)
	errs := make(chan error, 2)
	repliers := make(chan transport.Replier, 1)
	l := start(t, transport.HandlerFunc(func(ctx context.Context, w transport.Replier, _ transport.Packet) error {
		errs <- w.Reply(ctx, packet("first"))
		errs <- w.Reply(ctx, packet("second"))
		repliers <- w
		return nil
	}), client)
	mustSend(t, l, packet("x"))
	if err := <-errs; err != nil {
		t.Fatalf("first reply: %v", err)
	}
	second := <-errs
	w := <-repliers
	if l.Session {
		if second != nil {
			t.Errorf("second reply of a session: %v", second)
		}
		return
	}
	if !errors.Is(second, transport.ErrNoReturnRoute) {
		t.Errorf("second reply: got %v, want ErrNoReturnRoute", second)
	}
	if err := w.Reply(t.Context(), packet("late")); !errors.Is(err, transport.ErrNoReturnRoute) {
		t.Errorf("reply after ServePacket: got %v, want ErrNoReturnRoute", err)
	}
}

// testReplyLate replies after the packet was handled without a reply.
func testReplyLate(t *testing.T, start Start) {
	repliers := make(chan transport.Replier, 1)
	l := start(t, transport.HandlerFunc(func(_ context.Context, w transport.Replier, _ transport.Packet) error {
		repliers <- w
		return nil
	}), unexpected(t, "client"))
	if l.Session {
		return
	}
	mustSend(t, l, packet("x"))
	if err := (<-repliers).Reply(t.Context(), packet("late")); !errors.Is(err, transport.ErrNoReturnRoute) {
		t.Errorf("got %v, want ErrNoReturnRoute", err)
	}
}

// accepting is a Handler that accepts packets, and then handles each in a goroutine of
// its own.
type accepting func(w transport.Replier, p transport.Packet)

func (f accepting) ServePacket(_ context.Context, w transport.Replier, p transport.Packet) (handled <-chan struct{}, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(w, p)
	}()
	return done, nil
}

// testUnhandled tests packets that are handled long after they are accepted: they can be
// replied to, and other packets are served in between.
func testUnhandled(t *testing.T, start Start) {
	const n = 10
	release := make(chan struct{})
	client, answers := collect(n + 1)
	l := start(t, accepting(func(w transport.Replier, p transport.Packet) {
		if string(p.Data) != "at once" {
			<-release
		}
		if err := w.Reply(context.Background(), p); err != nil {
			t.Errorf("reply to %q before it was handled: %v", p.Data, err)
		}
	}), client)
	sent := make(chan error, n)
	for i := range n {
		go func() { sent <- l.Sender.Send(t.Context(), l.Endpoint, packet(fmt.Sprint(i))) }()
	}
	if l.Session {
		for range n {
			if err := <-sent; err != nil {
				t.Errorf("send: %v", err)
			}
		}
	}
	mustSend(t, l, packet("at once"))
	if p := <-answers; string(p.Data) != "at once" {
		t.Errorf("answer %q came before its packet was handled", p.Data)
	}
	if len(sent) > 0 {
		t.Errorf("%d sends ended before their packets were handled", len(sent))
	}
	close(release)
	for range n {
		if !l.Session {
			if err := <-sent; err != nil {
				t.Errorf("send: %v", err)
			}
		}
		<-answers
	}
}

// testUnhandledReply tests a reply that is accepted, but not handled before Send has
// returned.
func testUnhandledReply(t *testing.T, start Start) {
	release, handled := make(chan struct{}), make(chan struct{})
	l := start(t, transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		return w.Reply(ctx, p)
	}), accepting(func(transport.Replier, transport.Packet) {
		<-release
		close(handled)
	}))
	mustSend(t, l, packet("x"))
	close(release)
	<-handled
}

func testSession(t *testing.T, start Start) {
	client, answers := collect(1)
	repliers := make(chan transport.Replier, 1)
	l := start(t, transport.HandlerFunc(func(_ context.Context, w transport.Replier, _ transport.Packet) error {
		repliers <- w
		return nil
	}), client)
	mustSend(t, l, packet("x"))
	s, ok := (<-repliers).(transport.Session)
	if ok != l.Session {
		t.Fatalf("replier is a session: %v, want %v", ok, l.Session)
	}
	if !ok {
		return
	}
	if err := s.Reply(t.Context(), packet("late")); err != nil {
		t.Fatalf("reply after ServePacket: %v", err)
	}
	if p := <-answers; string(p.Data) != "late" {
		t.Errorf("got %q", p.Data)
	}
	if err := l.Sender.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Reply(t.Context(), packet("too late")); !errors.Is(err, transport.ErrNoReturnRoute) {
		t.Errorf("reply after the end: got %v, want ErrNoReturnRoute", err)
	}
}

// testSendOn tests that a reply comes on the connection that SendOn returned.
func testSendOn(t *testing.T, start Start) {
	back := make(chan transport.Replier, 1)
	l := start(t, transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		return w.Reply(ctx, p)
	}), transport.HandlerFunc(func(_ context.Context, w transport.Replier, _ transport.Packet) error {
		back <- w
		return nil
	}))
	sender, ok := l.Sender.(transport.SessionSender)
	if !ok {
		return
	}
	s, err := sender.SendOn(t.Context(), l.Endpoint, packet("x"))
	if err != nil {
		t.Fatal(err)
	}
	if w := <-back; w != transport.Replier(s) {
		t.Errorf("the answer came by %v, not by %v", w, s)
	}
	if err := l.Sender.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	_, err = sender.SendOn(t.Context(), l.Endpoint, packet("x"))
	sendError(t, err, true)
}

func testConcurrent(t *testing.T, start Start) {
	const n = 50
	client, answers := collect(n)
	l := start(t, transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		return w.Reply(ctx, p)
	}), client)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := l.Sender.Send(t.Context(), l.Endpoint, packet(fmt.Sprint(i))); err != nil {
				t.Errorf("send %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	seen := map[string]bool{}
	for range n {
		p := <-answers
		if seen[string(p.Data)] {
			t.Errorf("packet %s came twice", p.Data)
		}
		seen[string(p.Data)] = true
	}
}

func testHandlerErrors(t *testing.T, start Start) {
	served := make(chan struct{}, 1)
	l := start(t, transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
		defer func() { served <- struct{}{} }()
		switch string(p.Data) {
		case "reject":
			return fmt.Errorf("unpack: %w", &transport.RejectError{Reason: "cannot decrypt", Err: errors.New("secret cause")})
		case "fail":
			return errors.New("secret cause")
		}
		return nil
	}), unexpected(t, "client"))
	if !l.OneWay && !l.Sender.Receipts() {
		t.Error("errors of the receiver reach Send, which gives no receipts")
	}
	for _, what := range []string{"reject", "fail"} {
		err := l.Sender.Send(t.Context(), l.Endpoint, packet(what))
		<-served
		if l.OneWay {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		e := sendError(t, err, what == "fail")
		if strings.Contains(e.Error(), "secret") {
			t.Errorf("the peer learns the cause: %v", e)
		}
		if what == "reject" && !strings.Contains(e.Error(), "cannot decrypt") {
			t.Errorf("the peer does not learn the reason: %v", e)
		}
	}
	mustSend(t, l, packet("fine"))
}

func testPanic(t *testing.T, start Start) {
	served := make(chan transport.Replier, 1)
	l := start(t, transport.HandlerFunc(func(_ context.Context, w transport.Replier, p transport.Packet) error {
		defer func() { served <- w }()
		if string(p.Data) == "boom" {
			panic("boom")
		}
		return nil
	}), unexpected(t, "client"))
	err := l.Sender.Send(t.Context(), l.Endpoint, packet("boom"))
	w := <-served
	if !l.OneWay {
		sendError(t, err, true)
	}
	if s, ok := w.(transport.Session); ok {
		<-s.Done() // a panic may end the connection
	}
	mustSend(t, l, packet("fine"))
	<-served
}

func testLimit(t *testing.T, start Start) {
	l := start(t, unexpected(t, "server"), unexpected(t, "client"))
	err := l.Sender.Send(t.Context(), l.Endpoint, packet(strings.Repeat("x", l.MaxBytes+1)))
	if l.OneWay && err == nil {
		return
	}
	sendError(t, err, l.OneWay)
	if !l.OneWay && !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

// occupy takes so much of the Budget that only a small message fits.
func occupy(t *testing.T, l Link) (release func()) {
	t.Helper()
	_, release, err := l.Budget.ReadAll(bytes.NewReader(make([]byte, l.MaxBytes)), -1, int64(l.MaxBytes), func() {})
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// empty waits until nothing of the Budget is taken.
func empty(l Link) {
	for l.Budget.Used() != 0 {
		runtime.Gosched()
	}
}

// mustNotFit sends p, and then a packet in either direction must not fit into the Budget.
func mustNotFit(t *testing.T, l Link, p transport.Packet) *transport.SendError {
	t.Helper()
	if s, ok := l.Sender.(transport.SessionSender); ok && l.OneWay {
		c, err := s.SendOn(t.Context(), l.Endpoint, p)
		if err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		return nil
	}
	return sendError(t, l.Sender.Send(t.Context(), l.Endpoint, p), true)
}

// testBudget tests a receiver whose Budget is used up: it refuses large packets for now, and
// takes small ones.
func testBudget(t *testing.T, start Start) {
	server, got := collect(1)
	l := start(t, server, unexpected(t, "client"))
	if l.Budget == nil {
		return
	}
	large := packet(strings.Repeat("x", l.MaxBytes))
	release := occupy(t, l)
	if e := mustNotFit(t, l, large); e != nil && (!e.Busy || !e.Answered || e.RetryAfter <= 0) {
		t.Errorf("busy %v, answered %v, retry after %v: %v", e.Busy, e.Answered, e.RetryAfter, e)
	}
	mustSend(t, l, packet("small"))
	if p := <-got; string(p.Data) != "small" {
		t.Errorf("got %d bytes", len(p.Data))
	}
	release()
	mustSend(t, l, large)
	if p := <-got; len(p.Data) != len(large.Data) {
		t.Errorf("got %d bytes", len(p.Data))
	}
	empty(l)
}

// testBudgetOfReplies tests a sender whose Budget is used up.
func testBudgetOfReplies(t *testing.T, start Start) {
	client, answers := collect(1)
	var large transport.Packet
	l := start(t, transport.HandlerFunc(func(ctx context.Context, w transport.Replier, _ transport.Packet) error {
		return w.Reply(ctx, large)
	}), client)
	if l.Budget == nil {
		return
	}
	large = packet(strings.Repeat("x", l.MaxBytes))
	release := occupy(t, l)
	if e := mustNotFit(t, l, packet("x")); e != nil && !errors.Is(e, transport.ErrBudget) {
		t.Errorf("got %v, want ErrBudget", e)
	}
	release()
	mustSend(t, l, packet("x"))
	if p := <-answers; len(p.Data) != len(large.Data) {
		t.Errorf("got %d bytes", len(p.Data))
	}
	empty(l)
}

func testEndpoints(t *testing.T, start Start) {
	l := start(t, unexpected(t, "server"), unexpected(t, "client"))
	for _, endpoint := range []string{"", "nonsense", "://", "foo://example.com", "did:example:123", strings.SplitAfter(l.Endpoint, "://")[0]} {
		sendError(t, l.Sender.Send(t.Context(), endpoint, packet("x")), false)
	}
	sendError(t, l.Sender.Send(t.Context(), l.Dead, packet("x")), true)
}

func testNotDIDComm(t *testing.T, start Start) {
	l := start(t, unexpected(t, "server"), unexpected(t, "client"))
	for _, p := range []transport.Packet{
		{MediaType: transport.MediaTypeEncrypted},
		{MediaType: "text/html", Data: []byte("<html>")},
	} {
		sendError(t, l.Sender.Send(t.Context(), l.Endpoint, p), false)
	}
}

func testContext(t *testing.T, start Start) {
	l := start(t, unexpected(t, "server"), unexpected(t, "client"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := l.Sender.Send(ctx, l.Endpoint, packet("x"))
	sendError(t, err, true)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func testClose(t *testing.T, start Start) {
	server, got := collect(1)
	l := start(t, server, unexpected(t, "client"))
	mustSend(t, l, packet("x"))
	<-got
	c := l.Sender.(io.Closer)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wg.Wait()
	sendError(t, l.Sender.Send(t.Context(), l.Endpoint, packet("x")), true)
}
