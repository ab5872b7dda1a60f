package transport

import (
	"context"
	"fmt"
	"runtime/debug"
)

// PanicError is a panic of a Handler, turned into an error by Contain.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the goroutine's stack, as of runtime/debug.Stack
}

// Error says what the Handler panicked with, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// Contain returns a Handler that calls h and returns a panic of its ServePacket as
// a *PanicError. Every transport here hands its packets to a contained Handler,
// so that one packet cannot end the process. A panic of h after ServePacket has
// returned is for h to contain.
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

// NoReply is the Replier of a packet that came by a connection which takes no
// answer, such as the body of an HTTP response.
type NoReply struct{}

var _ Replier = NoReply{}

// Reply returns ErrNoReturnRoute.
func (NoReply) Reply(context.Context, Packet) error { return ErrNoReturnRoute }
