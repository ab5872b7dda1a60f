package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/rogpeppe/go-internal/testscript"
)

// agents are the script commands for running agents:
//
//	agent ALICE --listen 127.0.0.1:0   runs serve; sets $ALICE (its DID), $ALICE_URL, $ALICE_ORIGIN,
//	                                   $ALICE_HOST (of the URL)
//	says ALICE PATTERN                 waits for its next line
//	logs ALICE PATTERN                 waits until standard error matches
//	interrupt ALICE                    stops it, in time
//	freeport PORT                      sets $PORT
type agents struct{ running map[string]*agentProcess }

func newAgents() *agents { return &agents{running: map[string]*agentProcess{}} }

type agentsKey struct{}

func running(ts *testscript.TestScript) map[string]*agentProcess {
	return ts.Value(agentsKey{}).(*agents).running
}

func scriptAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: agent NAME [flags...]")
	}
	program, err := exec.LookPath("didcomm")
	ts.Check(err)
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "DIDCOMM_HOME", "DIDCOMM_PASSPHRASE", "GORACE", "GOCOVERDIR"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	p, err := startAgent(program, env, ts.MkAbs("."), args[1:]...)
	ts.Check(err)
	ts.Defer(p.kill)
	running(ts)[args[0]] = p
	ts.Setenv(args[0], p.did)
	ts.Setenv(args[0]+"_URL", p.url)
	u, err := url.Parse(p.url)
	ts.Check(err)
	ts.Setenv(args[0]+"_ORIGIN", u.Scheme+"://"+u.Host)
	ts.Setenv(args[0]+"_HOST", u.Host)
}

func scriptSays(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says NAME PATTERN")
	}
	line, err := running(ts)[args[0]].says(args[1])
	ts.Check(err)
	ts.Logf("%s", line)
}

func scriptLogs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: logs NAME PATTERN")
	}
	ts.Check(running(ts)[args[0]].logs(args[1]))
}

// scriptLogged looks for a line that the agent wrote to standard error before it
// served:
//
//	logged NAME PATTERN
func scriptLogged(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] logged NAME PATTERN")
	}
	log := running(ts)[args[0]].log()
	if found, err := regexp.MatchString(args[1], log); err != nil || found == neg {
		ts.Fatalf("found %v: %v\n%s", found, err, log)
	}
}

func scriptInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: interrupt NAME")
	}
	ts.Check(running(ts)[args[0]].stop(os.Interrupt))
}

func scriptFreePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VARIABLE")
	}
	port, err := freePort()
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// freePort picks a port of loopback that nothing listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// scriptPost sends an envelope; with ! it has to be refused, as one that cannot be opened,
// or whose sender cannot be resolved now:
//
//	post $ALICE_URL envelope
func scriptPost(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] post URL FILE")
	}
	resp, err := http.Post(args[0], transport.MediaTypeEncrypted, strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Logf("%s\n%s", resp.Status, body)
	refused := resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusServiceUnavailable
	if neg != refused || !neg && resp.StatusCode/100 != 2 {
		ts.Fatalf("%s", resp.Status)
	}
}

// rekey writes an agent's private keys under the key ids of its did:web:
//
//	rekey own.json $DID web.json
func rekey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: rekey FILE DID FILE")
	}
	lines := strings.Split(ts.ReadFile(args[0]), "\n")
	for i, line := range lines {
		if before, after, ok := strings.Cut(line, `"kid": "`); ok {
			_, fragment, _ := strings.Cut(after, "#")
			lines[i] = before + `"kid": "` + args[1] + "#" + fragment
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Join(lines, "\n")), 0o600))
}

// certificate makes a certificate for a host, signed by itself, and its key:
//
//	certificate localhost cert.pem key.pem
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: certificate HOST CERT KEY")
	}
	ts.Check(writeCertificate(args[0], ts.MkAbs(args[1]), ts.MkAbs(args[2])))
}

// writeCertificate writes a certificate of a host, which signs itself, and its key.
func writeCertificate(host, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{host},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
