package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// TestOutlet writes more to a pipe that nobody reads than an outlet keeps.
func TestOutlet(t *testing.T) {
	r, w := io.Pipe()
	o := newOutlet(w, "; see there")
	line := strings.Repeat("x", 1023) + "\n"
	const lines = 3 * maxOutlet / 1024
	for range lines {
		if n, err := io.WriteString(o, line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	o.close(0) // nobody reads
	o.close(0)
	fmt.Fprintln(o, "after close")
	var got bytes.Buffer
	go func() {
		<-o.done
		w.Close()
	}()
	if _, err := io.Copy(&got, r); err != nil {
		t.Fatal(err)
	}
	shown := strings.Count(got.String(), line)
	last := fmt.Sprintf("(lines not shown: %d; see there)\n", lines-shown)
	if shown == 0 || shown == lines || !strings.HasSuffix(got.String(), last) || got.Len() != shown*len(line)+len(last) {
		t.Errorf("%d of %d lines, and then %q", shown, lines, got.String()[max(0, got.Len()-200):])
	}
}

// TestOutletDrains reads after lines were dropped: the next line comes after their number.
func TestOutletDrains(t *testing.T) {
	r, w := io.Pipe()
	o := newOutlet(w, "")
	line := strings.Repeat("x", maxOutlet/2-1) + "\n"
	for range 3 {
		_, _ = io.WriteString(o, line)
	}
	want := line + line + "(lines not shown: 1)\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got[2*len(line):], err)
	}
	go fmt.Fprintln(o, "next")
	got = got[:len("next\n")]
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "next\n" {
		t.Fatalf("%q, %v", got, err)
	}
	o.close(time.Minute)
}
