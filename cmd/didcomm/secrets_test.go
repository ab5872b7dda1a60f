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

// planted is in every text that is sent in TestSecrets.
const planted = "planted-9f1c-text"

// Whatever is sent to an agent and by it, and however it fails, no private key and
// no text of a message is in what it logs, nor any text in what it keeps. Standard
// output shows basic messages, and nothing else does.
func TestSecrets(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			verbose := []string{"--log-level", "debug", "--log-format", format}
			agent, peer := run(t, verbose...)
			home := filepath.Join(peer.dir, "home")
			keys := privateKeys(t, filepath.Join(home, "identity.json"))
			var said bytes.Buffer // by the commands, on standard error
			command := func(home string, args ...string) {
				t.Helper()
				cmd := exec.Command(peer.program, append(args, verbose...)...)
				cmd.Dir, cmd.Stderr = peer.dir, &said
				cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+home)
				out, err := cmd.Output()
				if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				if args[0] == "send" {
					said.Write(out)
				}
			}

			// In, by each way; what is no message, or not for us; what the handlers
			// refuse.
			for _, args := range [][]string{{}, {"--ws"}, {"--ack"}, {"--ws", "--ack"}} {
				command("other", append(append([]string{"send"}, args...), agent.did, planted)...)
			}
			sender := strings.TrimSpace(peer.run("", "did", "create", "--method", "peer"))
			keys = append(keys, privateKeys(t, filepath.Join(peer.dir, "peer", "secrets.json"))...)
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
				command(home, "send", who, planted)
				command(home, "send", "--no-queue", who, planted)
				command(home, "send", "--ack", "--timeout", "2s", who, planted)
			}
			command(home, "outbox", "list")
			command(home, "inbox")
			command("other", "send", agent.did, "last")
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
			command(home, "send", agent.did, planted) // queued, by an agent that is not served

			log := agent.log() + said.String()
			if strings.Count(log, "\n") < 100 || !strings.Contains(log, "not delivered, will try again") {
				t.Errorf("a log of too little:\n%s", log)
			}
			for _, secret := range append(keys, planted) {
				for line := range strings.Lines(log) {
					if strings.Contains(line, secret) {
						t.Errorf("the log has %q: %s", secret, line)
					}
				}
			}
			for name, data := range contents(t, home) {
				if bytes.Contains(data, []byte(planted)) {
					t.Errorf("%s has a text as it was sent", name)
				}
			}
		})
	}
}

// privateKeys are the secrets of a file of private keys, in the forms in which
// they could be written.
func privateKeys(t *testing.T, path string) (forms []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys []struct {
		JWK struct{ D string } `json:"privateKeyJwk"`
		D   string
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		d, err := base64.RawURLEncoding.DecodeString(k.D + k.JWK.D)
		if err != nil || len(d) < 32 {
			t.Fatalf("%s: no private key of %d bytes, %v", path, len(d), err)
		}
		forms = append(forms, k.D+k.JWK.D, base64.StdEncoding.EncodeToString(d), hex.EncodeToString(d),
			strings.ToUpper(hex.EncodeToString(d)), fmt.Sprint(d), string(d))
	}
	if len(forms) == 0 {
		t.Fatalf("%s has no keys", path)
	}
	return forms
}

// contents are the files below a folder.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || len(files) < 3 {
		t.Fatalf("%s has %d files, %v", dir, len(files), err)
	}
	return files
}
