package delivery_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

// An item for a stranger is tried a few times, each time at a few endpoints, and the DID is
// not resolved again. Then the item is given up, long before its deadline.
func TestStrangerTries(t *testing.T) {
	for name, c := range map[string]struct {
		class       store.Class
		tries       int // Config.StrangerTries
		most, least int
	}{
		"stranger":      {class: store.ClassStranger, most: 9, least: 9},
		"stranger, one": {class: store.ClassStranger, tries: 1, most: 3, least: 3},
		"known":         {class: store.ClassKnown, most: 5000, least: 500},
		"own":           {most: 5000, least: 500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent, moved atomic.Int32
				p := run(t, delivery.Config{
					StrangerTries: c.tries,
					Senders: senders(web(func(context.Context, string, string) error {
						sent.Add(1)
						return errDown
					}), "http"),
					Moved: func(context.Context, *store.Item) []store.Endpoint {
						moved.Add(1)
						return nil
					},
				})
				it := to("m", "http://a", c.class)
				for i := range 7 {
					it.Endpoints = append(it.Endpoints, store.Endpoint{URI: fmt.Sprint("http://b", i)})
				}
				p.deliver(it)
				time.Sleep(23 * time.Hour)
				if n := int(sent.Load()); n < c.least || n > c.most {
					t.Errorf("%d packets were sent", n)
				}
				stranger := c.class == store.ClassStranger
				if stranger != (moved.Load() == 0) || stranger != (len(p.queued()) == 0) {
					t.Errorf("resolved again %d times, queued %q", moved.Load(), p.queued())
				}
				if o := delivery.OutcomeOf(p.entry("m")); stranger && o.State != delivery.GivenUp {
					t.Errorf("outcome %v", o)
				}
			})
		})
	}
}

// A reply that breaks off is asked for again at most twice, and never from a stranger. The
// item has arrived all the same.
func TestReplyBreaksOff(t *testing.T) {
	for name, c := range map[string]struct {
		class     store.Class
		broken    int32 // replies
		want      int32 // requests
		endpoints int
	}{
		"stranger":                {class: store.ClassStranger, broken: 100, want: 1, endpoints: 1},
		"stranger, two endpoints": {class: store.ClassStranger, broken: 100, want: 1, endpoints: 2},
		"own":                     {broken: 100, want: 3, endpoints: 1},
		"own, two endpoints":      {broken: 100, want: 3, endpoints: 2},
		"own, once":               {broken: 1, want: 2, endpoints: 1},
		"known":                   {class: store.ClassKnown, broken: 100, want: 3, endpoints: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", transport.MediaTypeEncrypted)
				if n.Add(1) <= c.broken {
					w.Header().Set("Content-Length", "1000")
					_, _ = w.Write([]byte("{"))
					return
				}
				w.WriteHeader(http.StatusAccepted)
			}))
			defer server.Close()
			client, err := httptransport.NewClient(httptransport.ClientConfig{Dial: new(net.Dialer).DialContext})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			ended := make(chan delivery.Outcome, 10)
			p := run(t, delivery.Config{
				Senders: senders(client, "http"),
				Backoff: delivery.Backoff{Min: time.Millisecond, Max: time.Millisecond},
				Outcome: func(_ context.Context, o delivery.Outcome) {
					if o.Ended() {
						ended <- o
					}
				},
			})
			it := to("m", server.URL, c.class)
			for i := 1; i < c.endpoints; i++ {
				it.Endpoints = append(it.Endpoints, store.Endpoint{URI: server.URL + "/" + fmt.Sprint(i)})
			}
			p.deliver(it)
			o := <-ended
			if o.State != delivery.Sent || !o.Arrived() || !strings.HasPrefix(o.Way, server.URL) || n.Load() != c.want {
				t.Errorf("%v after %d requests", o, n.Load())
			}
			if len(p.queued()) != 0 {
				t.Errorf("queued: %q", p.queued())
			}
		})
	}
}
