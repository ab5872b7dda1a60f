//go:build postgres

package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// While the database is away peers are told to come again. Their messages are handled
// soon after they have done so.
func TestDatabaseAway(t *testing.T) {
	server := startPostgres(t)
	agent, peer := run(t, "--store", storeOf(t, server, "away"))
	packed := peer.run(`{"id": "1", "type": "https://didcomm.org/basicmessage/2.0/message", "body": {"content": "hello"}, "to": ["`+agent.did+`"]}`, "pack")
	post := func() *http.Response {
		t.Helper()
		res, err := http.Post(agent.url, transport.MediaTypeEncrypted, strings.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res := post(); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "10" {
		t.Errorf("without a database: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); post().StatusCode != http.StatusAccepted; {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("not accepted in %s: %s", time.Since(began), agent.log())
		}
	}
	if _, err := agent.says(": hello$"); err != nil {
		t.Error(err)
	}
}
