// Package storetest is the conformance suite of package agent/store. Each contract has a
// test, which every implementation of the contract must pass:
//
//	func TestOutbox(t *testing.T) {
//		storetest.TestOutbox(t, func(t *testing.T) store.Outbox { return open(t) })
//	}
//
// [Faults] makes the calls of a store fail by chance, to test the users of a store.
package storetest

import (
	"errors"
	"testing"
	"time"
)

// A lease or a delay of long does not end within a test. One of short does.
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
