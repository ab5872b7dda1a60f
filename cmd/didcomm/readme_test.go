package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The sessions in README.md run as they are shown there, but for names, times and
// lines that are left out.
func TestReadmeSession(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []string
	for _, m := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		sessions = append(sessions, m[1])
	}
	if len(sessions) != 2 || !strings.HasPrefix(sessions[0], "$ didcomm serve\n") {
		t.Fatalf("README.md has the sessions %q, want an agent and a second terminal", sessions)
	}

	agent, peer := run(t)
	shown := regexp.MustCompile(`did:peer:2\.\S*\.\.\.`)
	for command := range strings.SplitSeq(strings.TrimPrefix(sessions[1], "$ "), "\n$ ") {
		line, want, _ := strings.Cut(command, "\n")
		if line == "didcomm inbox" { // where a message is done when it was handled
			if err := agent.stop(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("didcomm", arguments(shown.ReplaceAllString(line, agent.did))...)
		cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(peer.dir, "home"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		shows(t, line, string(out), want)
		if strings.HasPrefix(line, "didcomm send ") {
			said, err := agent.says("^message from ")
			if err != nil {
				t.Fatal(err)
			}
			shows(t, "didcomm serve", agent.did+"\n"+agent.log()+said, strings.TrimPrefix(sessions[0], "$ didcomm serve\n"))
		}
	}
}

// arguments are those of a command line with the one kind of quotes.
func arguments(line string) []string {
	var args []string
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		args = append(args, m[1]+m[2])
	}
	return args[1:]
}

// shows checks that all lines of want are among those of what was printed, in their
// order.
func shows(t *testing.T, command, printed, want string) {
	t.Helper()
	rest := alike(printed)
	for line := range strings.Lines(alike(want)) {
		_, after, ok := strings.Cut("\n"+rest, "\n"+line)
		if !ok {
			t.Errorf("%s printed\n%s\nwithout, or not in the order of README.md:\n%s", command, printed, line)
			return
		}
		rest = after
	}
}

// alike makes the same of what differs in each run: DIDs, ports, times, ids, and
// where the program is.
func alike(text string) string {
	for _, r := range []struct{ pattern, by string }{
		{`did:peer:2[\w.-]+`, "DID"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`\d+(\.\d+)? (ms|µs)`, "TIME"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "DATE"},
		{`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`, "ID"},
		{`\S*didcomm(\.exe)? ping`, "didcomm ping"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.by)
	}
	return strings.TrimSpace(text) + "\n"
}
