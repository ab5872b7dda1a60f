package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// A person watches messages come in, and stops when it is enough.
func TestFollow(t *testing.T) {
	agent, peer := run(t)
	peer.run("", "send", agent.did, "before")
	cmd := exec.Command(peer.program, "inbox", "--follow")
	cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(peer.dir, "home"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timeout.Stop()
	lines := bufio.NewScanner(stdout)
	expect := func(text string) { // a message is shown as soon as it is there: its handler may still have it
		t.Helper()
		want := regexp.MustCompile(` ((waiting|handling), .*, basicmessage/2\.0/message, id [0-9a-f-]{36}|done, .*, basicmessage/2\.0/message): ` + text + `$`)
		if !lines.Scan() || !want.MatchString(lines.Text()) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("%q, %v, want %q; %s", lines.Text(), lines.Err(), want, stderr.Bytes())
		}
	}
	expect("before")
	for _, text := range []string{"one", "two", "three"} { // each once
		peer.run("", "send", agent.did, text)
		expect(text)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		t.Errorf("and then %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("%v, %s", err, stderr.Bytes())
	}
}
