package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGHUP loads the certificate again, and never ends an agent, with TLS or without.
func TestHangUp(t *testing.T) {
	plain, peer := run(t)
	if err := plain.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	peer.run("", "ping", plain.did)
	if err := plain.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}

	dir := t.TempDir()
	cert, key := dir+"/cert.pem", dir+"/key.pem"
	if err := writeCertificate("localhost", cert, key); err != nil {
		t.Fatal(err)
	}
	secure, _ := run(t, "--tls-cert", cert, "--tls-key", key, "--log-level", "info")
	if err := secure.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(secure.log(), "certificate loaded"); {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the certificate is not loaded:\n%s", secure.log())
		}
	}
	if err := secure.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
