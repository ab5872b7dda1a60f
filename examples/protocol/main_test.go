package main

import (
	"bytes"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	noon := func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }
	var out bytes.Buffer
	if err := run(t.Context(), &out, noon); err != nil {
		t.Fatal(err)
	}
	const want = `the clock says 2026-11-22T12:00:00Z
the clock says 2026-11-22T17:45:00+05:45
the clock refuses: noon is not an offset from UTC such as +05:45 (e.p.msg.offset)
`
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
