// Package storetest is the conformance suite of agent/store: every
// implementation of a contract passes the test of that contract.
//
//	func TestOutbox(t *testing.T) {
//		storetest.TestOutbox(t, func(t *testing.T) store.Outbox { return open(t) })
//	}
package storetest

import (
	"errors"
	"testing"
	"time"
)

// long is a lease or a delay that does not end within a test, short one that
// does.
const (
	long  = time.Hour
	short = 20 * time.Millisecond
)

func check(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}
