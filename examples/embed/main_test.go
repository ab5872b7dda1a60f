package main

import (
	"bytes"
	"regexp"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^alice pinged bob: answer after \S+s
bob got "hello, Bob", from alice: true
alice got "hello, Alice", from bob: true
$`)
	if got := out.Bytes(); !want.Match(got) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
