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
	expect := func(pattern string) {
		t.Helper()
		if !lines.Scan() || !regexp.MustCompile(pattern).MatchString(lines.Text()) {
			t.Fatalf("%q, %v, want %q; %s", lines.Text(), lines.Err(), pattern, stderr.Bytes())
		}
	}
	expect(`, basicmessage/2\.0/message: before$`)
	for _, text := range []string{"one", "two", "three"} { // each once
		peer.run("", "send", agent.did, text)
		expect(`, basicmessage/2\.0/message: ` + text + `$`)
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
