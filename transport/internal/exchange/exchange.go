// Package exchange is what the transports share that carry a packet one way and at
// most one reply back.
package exchange

import "context"

// Await waits until handled, as transport.Handler returns it, is closed. It
// reports false when ctx ends first.
func Await(ctx context.Context, handled <-chan struct{}) bool {
	if handled == nil {
		return true
	}
	select {
	case <-handled:
		return true
	case <-ctx.Done():
	}
	select {
	case <-handled:
		return true
	default:
		return false
	}
}
