package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Requests whose bodies never end take no descriptors from the agent, on no path: it still
// answers GET /healthz, and pings by itself and others.
func TestUnfinishedBodies(t *testing.T) {
	program, err := exec.LookPath("didcomm")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	few := filepath.Join(dir, "didcomm-few")
	if err := os.WriteFile(few, []byte("#!/bin/sh\nulimit -n 300 && exec "+program+` "$@"`+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(dir, "home"))
	agent, err := startAgent(few, env, dir, "--listen", "127.0.0.1:0", "--log-level", "error",
		"--connections-per-address=0", "--connects-per-minute=0", "--requests-per-minute=0", "--failures-per-minute=0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.kill)
	host := strings.TrimSuffix(strings.TrimPrefix(agent.url, "http://"), "/didcomm")
	for i := range 320 {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		path := []string{"/healthz", "/nothing", "/.well-known/did.json", "/didcomm"}[i%4]
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/didcomm-encrypted+json\r\nContent-Length: 100000\r\n\r\n{", path, host)
	}
	began := time.Now()
	for answered := 0; answered < 3; {
		resp, err := http.Get("http://" + host + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		switch {
		case err == nil && resp.StatusCode == http.StatusOK:
			answered++
		case time.Since(began) > 30*time.Second:
			t.Fatalf("no answer: %v", err)
		}
	}
	peer := &peer{t: t, program: program, dir: dir, to: agent.did, host: host}
	peer.run("", "ping", agent.did)
	if err := agent.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if log := agent.log(); strings.Contains(log, "too many open files") {
		t.Errorf("log: %s", log)
	}
}
