package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
)

// planted is in every text that is sent in TestSecrets; the others are the
// passphrase of the agent's keys, and what somebody takes for it.
const (
	planted    = "planted-9f1c-text"
	passphrase = "planted-9f1c-passphrase"
	mistaken   = "planted-9f1c-mistake"
)

// Whatever is sent to an agent and by it, and however it fails, no private key, no
// passphrase and no text of a message is in what it logs or in what it keeps.
// Standard output shows basic messages, and nothing else does.
func TestSecrets(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			program, err := exec.LookPath("didcomm")
			if err != nil {
				t.Fatal(err)
			}
			verbose := []string{"--log-level", "debug", "--log-format", format}
			dir := t.TempDir()
			home, other := filepath.Join(dir, "home"), filepath.Join(dir, "other")
			var said bytes.Buffer // by the commands, on standard error
			command := func(home, passphrase string, args ...string) []byte {
				t.Helper()
				cmd := exec.Command(program, args...)
				if args[0] != "key" {
					cmd.Args = append(cmd.Args, verbose...)
				}
				cmd.Dir, cmd.Stderr = dir, &said
				cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+home, "DIDCOMM_PASSPHRASE="+passphrase)
				out, err := cmd.Output()
				if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				return out
			}
			for name, text := range map[string]string{"right": passphrase, "wrong": mistaken} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			command(home, "", "key", "passwd", "--new-passphrase-file", "right")
			keys := privateKeys(t, command(home, passphrase, "key", "export"))
			env := append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+home, "DIDCOMM_PASSPHRASE="+passphrase)
			agent, err := startAgent(program, env, dir, append([]string{"--listen", "127.0.0.1:0"}, verbose...)...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(agent.kill)
			peer := &peer{t: t, program: program, dir: dir, to: agent.did}

			// In, by each way; what is no message, or not for us; what the handlers
			// refuse.
			for _, args := range [][]string{{}, {"--ws"}, {"--ack"}, {"--ws", "--ack"}} {
				command(other, "", append(append([]string{"send"}, args...), agent.did, planted)...)
			}
			sender := strings.TrimSpace(peer.run("", "did", "create", "--method", "peer"))
			keys = append(keys, privateKeys(t, []byte(peer.run("", "key", "export")))...)
			for i, m := range []string{
				`"type":"https://didcomm.org/basicmessage/2.0/message","body":{"content":["%s"]}`,
				`"type":"https://didcomm.org/basicmessage/2.0/message","body":{"%[1]s":"%[1]s"}`,
				`"type":"https://didcomm.org/basicmessage/2.0/message","created_time":1,"expires_time":2,"body":{"content":"%s"}`,
				`"type":"https://didcomm.org/unknown/1.0/x","body":{"x":"%[1]s"},"attachments":[{"data":{"json":"%[1]s"}}]`,
				`"type":"https://didcomm.org/report-problem/2.0/problem-report","pthid":"1","body":{"code":"e.p.x","comment":"%[1]s","args":["%[1]s"]}`,
				`"type":"https://didcomm.org/trust-ping/2.0/ping","body":{"response_requested":"%s"}`,
				`"type":"https://didcomm.org/discover-features/2.0/queries","body":{"queries":[{"feature-type":"protocol","match":17,"x":"%s"}]}`,
			} {
				text := fmt.Sprintf(`{"id":"m%d",`+m+`}`, i, planted)
				post(t, agent.url, transport.MediaTypePlain, strings.NewReader(text))
				for _, args := range [][]string{{"--from", sender}, {"--from", sender, "--protect-sender"}, {"--sign-by", sender}, {}} {
					sealed := peer.run(text, append(append([]string{"pack"}, args...), "--to", agent.did)...)
					for range 2 { // the second one is known
						post(t, agent.url, transport.MediaTypeEncrypted, strings.NewReader(sealed))
					}
					post(t, agent.url, transport.MediaTypeEncrypted, strings.NewReader(sealed[:len(sealed)/2]))
					post(t, agent.url, transport.MediaTypeEncrypted, strings.NewReader(strings.Replace(sealed, `"tag":"`, `"tag":"AAAA`, 1)))
				}
			}

			// Out: to one who is there, one who is not, one who takes nothing.
			dead, err := freePort()
			if err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{"http://127.0.0.1:" + dead, "ws://127.0.0.1:" + dead, agent.url + "/nowhere"} {
				who := strings.TrimSpace(peer.run("", "did", "create", "--method", "peer", "--service", to))
				command(home, passphrase, "send", who, planted)
				command(home, passphrase, "send", "--no-queue", who, planted)
				command(home, passphrase, "send", "--ack", "--timeout", "2s", who, planted)
			}
			command(home, passphrase, "outbox", "list")
			command(home, passphrase, "inbox")
			command(other, "", "send", agent.did, "last")
			for _, args := range [][]string{{"inbox"}, {"send", agent.did, planted}, {"ping", agent.did}, {"serve"}, {"key", "list"}, {"key", "passwd"}} {
				command(home, mistaken, args...)
			}
			command(home, "", "inbox", "--passphrase-file", "wrong")
			for line := range agent.lines {
				if strings.HasSuffix(line, ": last") {
					break
				}
				for _, key := range keys {
					if strings.Contains(line, key) {
						t.Errorf("standard output has a private key: %s", line)
					}
				}
				if !strings.HasPrefix(line, "message from ") || !strings.HasSuffix(line, ": "+planted) {
					t.Errorf("standard output: %s", line)
				}
			}
			if err := agent.stop(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			command(home, passphrase, "send", agent.did, planted) // queued, by an agent that is not served

			log := agent.log() + said.String()
			if strings.Count(log, "\n") < 100 || !strings.Contains(log, "not delivered, will try again") {
				t.Errorf("a log of too little:\n%s", log)
			}
			for _, secret := range append(keys, planted, passphrase, mistaken) {
				for line := range strings.Lines(log) {
					if strings.Contains(line, secret) {
						t.Errorf("the log has %q: %s", secret, line)
					}
				}
			}
			for name, data := range contents(t, home, 2) {
				for _, secret := range append(keys, planted, passphrase) {
					if bytes.Contains(data, []byte(secret)) {
						t.Errorf("%s has %q", name, secret)
					}
				}
			}
		})
	}
}

// privateKeys are the secrets of a list of private keys, in the forms in which
// they could be written.
func privateKeys(t *testing.T, list []byte) (forms []string) {
	t.Helper()
	var keys []struct {
		JWK struct{ D string } `json:"privateKeyJwk"`
		D   string
	}
	if err := json.Unmarshal(list, &keys); err != nil {
		t.Fatalf("%s: %v", list, err)
	}
	for _, k := range keys {
		d, err := base64.RawURLEncoding.DecodeString(k.D + k.JWK.D)
		if err != nil || len(d) < 32 {
			t.Fatalf("a private key of %d bytes, %v", len(d), err)
		}
		forms = append(forms, k.D+k.JWK.D, base64.StdEncoding.EncodeToString(d), hex.EncodeToString(d),
			strings.ToUpper(hex.EncodeToString(d)), fmt.Sprint(d), string(d))
	}
	if len(forms) == 0 {
		t.Fatal("no keys")
	}
	return forms
}

// contents are the files below a folder, which has a number of them at least.
func contents(t *testing.T, dir string, atLeast int) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || len(files) < atLeast {
		t.Fatalf("%s has %d files, %v", dir, len(files), err)
	}
	return files
}
