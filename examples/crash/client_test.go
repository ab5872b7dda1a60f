//go:build crash && unix

package crash_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

const (
	postTimeout = 2 * time.Second        // for one POST
	postPause   = 50 * time.Millisecond  // after one that failed
	outstanding = 128                    // messages that are not accepted yet
	answering   = 200 * time.Millisecond // what the client takes for a message
)

// client is a peer without a store, in the test itself. It sends messages by HTTP
// until an endpoint has accepted them, and receives what is sent to it.
type client struct {
	dids     map[string]string
	packer   *envelope.Packer
	http     *http.Client
	received *times // what was sent to it, and answered with 2xx
	accepted *times // what it sent

	to        string
	endpoints []string

	mu    sync.Mutex // guards all below
	sent  int
	open  []int // POSTs outstanding at each endpoint
	fails map[string]int
	posts sync.WaitGroup
}

// newClient makes a client that can be sent to.
func newClient(t *testing.T) *client {
	t.Helper()
	c := &client{received: newTimes(), accepted: newTimes(), fails: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(server.Close)
	c.http = &http.Client{Timeout: postTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: outstanding}}
	t.Cleanup(c.http.CloseIdleConnections)
	t.Cleanup(c.posts.Wait)
	dids, secrets, err := identities(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.ParseSecrets(secrets)
	if err != nil {
		t.Fatal(err)
	}
	resolver := did.NewCache(did.Methods{"peer": didpeer.NewResolver()}, did.CacheConfig{})
	if c.packer, err = envelope.New(envelope.Config{Keys: keys, Resolver: resolver}); err != nil {
		t.Fatal(err)
	}
	c.dids = dids
	return c
}

// receive serves what is sent to the client. It takes a moment, and what its
// sender does not wait for counts as not received.
func (c *client) receive(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	u, err := c.packer.Unpack(r.Context(), data)
	if err != nil {
		http.Error(w, "cannot be opened", http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(answering):
	case <-r.Context().Done():
		return
	}
	c.received.add(u.Message.ID, time.Now())
	w.WriteHeader(http.StatusAccepted)
}

// send sends a message, to one endpoint after the other, until one has accepted it
// or ctx ends. It returns at once, false if too many are on their way.
func (c *client) send(ctx context.Context, t *testing.T, endpoints ...int) bool {
	c.mu.Lock()
	sum := 0
	for _, n := range c.open {
		sum += n
	}
	if sum >= outstanding {
		c.mu.Unlock()
		return false
	}
	c.sent++
	first := c.sent
	c.open[endpoints[first%len(endpoints)]]++
	c.mu.Unlock()
	c.posts.Go(func() {
		id := newID("client")
		e, err := c.pack(ctx, id)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("pack: %v", err)
			}
			return
		}
		for try := first; ; try++ {
			at := endpoints[try%len(endpoints)]
			err := c.post(ctx, at, e)
			if err == nil {
				c.accepted.add(id, time.Now())
			}
			next := endpoints[(try+1)%len(endpoints)]
			c.mu.Lock()
			c.open[at]--
			if err != nil && ctx.Err() == nil {
				c.fails[failure(err)]++
				c.open[next]++
			}
			c.mu.Unlock()
			if err == nil || ctx.Err() != nil {
				return
			}
			select {
			case <-time.After(postPause):
			case <-ctx.Done():
			}
		}
	})
	return true
}

// failure is the class of an error of post.
func failure(err error) string {
	for _, class := range []string{"refused", "reset", "EOF", "Timeout", "deadline", "500", "503"} {
		if strings.Contains(err.Error(), class) {
			return class
		}
	}
	return err.Error()
}

func (c *client) pack(ctx context.Context, id string) (envelope.Envelope, error) {
	m, err := basicmessage.New(strings.Repeat("x", 500), "")
	if err != nil {
		return envelope.Envelope{}, err
	}
	m.ID, m.From, m.To, m.CreatedTime = id, c.dids["http"], []string{c.to}, time.Now()
	sealed, err := c.packer.Pack(ctx, m, envelope.From(m.From))
	if err != nil {
		return envelope.Envelope{}, err
	}
	return sealed[0], nil
}

// post is one try; without an error it was accepted.
func (c *client) post(ctx context.Context, endpoint int, e envelope.Envelope) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoints[endpoint], bytes.NewReader(e.Data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", e.MediaType)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// held is how many POSTs are outstanding at an endpoint.
func (c *client) held(endpoint int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[endpoint]
}

// count is how many messages were sent, and the POSTs that failed, by class.
func (c *client) count() (sent int, fails string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, strings.TrimPrefix(fmt.Sprint(c.fails), "map")
}
