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

// sessions are the sessions in README.md.
func sessions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		list = append(list, m[1])
	}
	if len(list) != 3 || !strings.HasPrefix(list[0], "$ didcomm serve\n") || !strings.Contains(list[2], " --via ") {
		t.Fatalf("README.md has the sessions %q, want an agent, a second terminal, and a phone", list)
	}
	return list
}

// The sessions in README.md run as they are shown there, but for names, times and
// lines that are left out.
func TestReadmeSession(t *testing.T) {
	sessions := sessions(t)

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

// The three commands with a mediator run as README.md shows them, but on free ports.
func TestReadmePhone(t *testing.T) {
	program, err := exec.LookPath("didcomm")
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.Split(strings.TrimPrefix(sessions(t)[2], "$ "), "\n$ ")
	if len(commands) != 3 {
		t.Fatalf("%d commands", len(commands))
	}
	dir, env := t.TempDir(), append(os.Environ(), "GORACE="+raceOptions)
	shown := map[string]string{} // DIDs as README.md shows them
	names := regexp.MustCompile(`did:peer:2\.\S*\.\.\.`)
	var running []*agentProcess
	for _, command := range commands {
		line, want, _ := strings.Cut(command, "\n")
		args := arguments(names.ReplaceAllStringFunc(line, func(name string) string { return shown[name] }))
		if args[2] != "serve" {
			cmd := exec.Command(program, args...)
			cmd.Dir, cmd.Env = dir, env
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			shows(t, line, string(out), want)
			continue
		}
		if args[3] == "--mediator" {
			args = append(args, "--listen", "127.0.0.1:0")
		}
		p, err := startAgent(program, env, dir, append(args[3:], args[:2]...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		running = append(running, p)
		shown[names.FindString(want)] = p.did
	}
	phone := running[1]
	said, err := phone.says("^message from ")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(commands[1], "\n")
	shows(t, "phone", phone.did+"\n"+said, want)
	for _, p := range running {
		if err := p.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
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
