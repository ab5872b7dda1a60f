package transport

import (
	"context"
	"fmt"
	"runtime/debug"
)

// PanicError is the error for a panic of a Handler. See [Contain].
type PanicError struct {
	Value any    // the argument of panic
	Stack []byte // the stack of the goroutine, as runtime/debug.Stack returns it
}

// Error returns the value of the panic, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// Contain returns a Handler that calls h, recovers from a panic of h.ServePacket, and
// returns a *PanicError for it. All transports of this module use it, so that one packet
// cannot end the process. Contain does not recover from panics in other goroutines of
// h.
func Contain(h Handler) Handler { return contained{h} }

type contained struct{ h Handler }

var _ Handler = contained{}

func (c contained) ServePacket(ctx context.Context, w Replier, p Packet) (handled <-chan struct{}, err error) {
	defer func() {
		if v := recover(); v != nil {
			handled, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return c.h.ServePacket(ctx, w, p)
}

// NoReply is a Replier for packets that cannot be replied to on their connection, for
// example because they came in the body of an HTTP response.
type NoReply struct{}

var _ Replier = NoReply{}

// Reply returns [ErrNoReturnRoute].
func (NoReply) Reply(context.Context, Packet) error { return ErrNoReturnRoute }
