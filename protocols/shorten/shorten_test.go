package shorten_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/didcomm-go/didcomm/protocols/shorten"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

const base = "https://mediator.example/s"

// long returns a URL with an invitation in it.
func long(t *testing.T) string {
	t.Helper()
	i := outofband.New("did:example:alice")
	i.Goal = strings.Repeat("to shorten ", 20)
	s, err := i.URL("https://agent.example/invitation")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shortener is a Shortener with the store of its agent.
type shortener struct {
	*shorten.Shortener
	store store.Store
}

func newShortener(t *testing.T, edit func(*shorten.Config)) shortener {
	t.Helper()
	st := store.New(store.Config{})
	cfg := shorten.Config{URL: base, Records: st.Records(), Allow: func(context.Context, string) error { return nil }}
	if edit != nil {
		edit(&cfg)
	}
	s, err := shorten.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return shortener{s, st}
}

// serve returns a Shortener's agent, and n clients.
func serve(t *testing.T, s shortener, n int) (*agent.Agent, []*agent.Agent) {
	t.Helper()
	net := agenttest.NewNet()
	mediator := net.Agent(t, agent.NewMux(s.Serve(), empty.Handle()), agenttest.Configure(func(cfg *agent.Config) { cfg.Store = s.store }))
	clients := make([]*agent.Agent, n)
	for i := range clients {
		clients[i] = net.Agent(t, nil)
	}
	return mediator, clients
}

func get(s http.Handler, u, accept string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, u, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func TestShorten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShortener(t, nil)
		mediator, clients := serve(t, s, 2)
		u := long(t)
		short, expires, err := shorten.Shorten(t.Context(), clients[0], mediator.DID(), u, time.Hour)
		if err != nil || !strings.HasPrefix(short, base+"?_oobid=") || time.Until(expires) > time.Hour || time.Until(expires) < time.Hour-time.Second {
			t.Fatalf("%s, %s, %v", short, expires, err)
		}
		again, _, err := shorten.Shorten(t.Context(), clients[0], mediator.DID(), u, 0)
		if err != nil || again == short || len(again) != len(base+"?_oobid=")+22 {
			t.Fatalf("%s, %v", again, err)
		}
		if r := get(s, short, "text/html"); r.StatusCode != http.StatusFound || r.Header.Get("Location") != u || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%+v", r)
		}
		r := get(s, short, "text/html, application/JSON;q=0.5")
		body, _ := io.ReadAll(r.Body)
		if i, err := outofband.Parse(string(body)); err != nil || i.From != "did:example:alice" || r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%+v, %s, %v", r, body, err)
		}

		wantProblem(t, shorten.Invalidate(t.Context(), clients[1], mediator.DID(), short), shorten.CodeInvalidation)
		if err := shorten.Invalidate(t.Context(), clients[0], mediator.DID(), short); err != nil {
			t.Error(err)
		}
		wantProblem(t, shorten.Invalidate(t.Context(), clients[0], mediator.DID(), short), shorten.CodeNoSuchURL)
		time.Sleep(31 * 24 * time.Hour)
		wantProblem(t, shorten.Invalidate(t.Context(), clients[0], mediator.DID(), again), shorten.CodeNoSuchURL)

		// All that are not there are answered alike.
		var first string
		for _, u := range []string{short, again, base, base + "?_oobid=", base + "?_oobid=AAAAAAAAAAAAAAAAAAAAAA", base + "?_oobid=../../x", base + "?_oobid=" + strings.Repeat("x", 5000)} {
			r := get(s, u, "")
			body, _ := io.ReadAll(r.Body)
			if first == "" {
				first = string(body)
			}
			if r.StatusCode != http.StatusNotFound || string(body) != first || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Location") != "" {
				t.Errorf("%.80s: %+v, %s", u, r, body)
			}
		}
	})
}

func wantProblem(t *testing.T, err error, code string) {
	t.Helper()
	var p *message.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

// A URL to an address that is refused is not shortened, in whatever form the address is.
func TestAddress(t *testing.T) {
	s := newShortener(t, func(c *shorten.Config) { c.Address = new(netguard.Guard).Check })
	mediator, clients := serve(t, s, 1)
	for host, ok := range map[string]bool{
		"agent.example": true, "agent.example:8443": true, "192.0.2.example": true, "8.8.8.8": true, "0x.example": true,
		"localhost": false, "LOCALHOST.": false, "a.localhost:80": false, "127.0.0.1": false, "127.0.0.1.": false, "127.1": false, "2130706433": false,
		"0x7f000001": false, "0x7f.1": false, "0177.0.0.1": false, "10.0.0.1": false, "192.168.1.1:8080": false, "169.254.169.254": false,
		"[::1]": false, "[::ffff:10.0.0.1]": false, "[fd00::1]": false, "[fe80::1%25eth0]": false,
	} {
		_, _, err := shorten.Shorten(t.Context(), clients[0], mediator.DID(), strings.Replace(long(t), "agent.example", host, 1), 0)
		if ok && err != nil {
			t.Errorf("%s: %v", host, err)
		} else if !ok {
			wantProblem(t, err, shorten.CodeURL)
		}
	}
}

func TestRefused(t *testing.T) {
	u := long(t)
	seconds := func(n int64) *int64 { return &n }
	for name, tt := range map[string]struct {
		body any
		code string
	}{
		"another goal":      {shorten.RequestBody{URL: u, GoalCode: "shorten.oobv1"}, shorten.CodeGoal},
		"no goal":           {shorten.RequestBody{URL: u}, shorten.CodeGoal},
		"no URL":            {shorten.RequestBody{GoalCode: shorten.Goal}, shorten.CodeURL},
		"not a URL":         {shorten.RequestBody{URL: "hello", GoalCode: shorten.Goal}, shorten.CodeURL},
		"a script":          {shorten.RequestBody{URL: "javascript:alert(1)//" + u, GoalCode: shorten.Goal}, shorten.CodeScheme},
		"a WebSocket":       {shorten.RequestBody{URL: strings.Replace(u, "https", "wss", 1), GoalCode: shorten.Goal}, shorten.CodeScheme},
		"no invitation":     {shorten.RequestBody{URL: "https://example.com/?x=" + strings.Repeat("y", 200), GoalCode: shorten.Goal}, shorten.CodeURL},
		"another content":   {shorten.RequestBody{URL: "https://example.com/?_oob=" + strings.Repeat("e30", 1), GoalCode: shorten.GoalOOB}, shorten.CodeURL},
		"a short URL":       {shorten.RequestBody{URL: base + "?_oobid=AAAAAAAAAAAAAAAAAAAAAA", GoalCode: shorten.GoalOOB}, shorten.CodeURL},
		"a user":            {shorten.RequestBody{URL: strings.Replace(u, "https://", "https://a:b@", 1), GoalCode: shorten.GoalOOB}, shorten.CodeURL},
		"for ever":          {shorten.RequestBody{URL: u, GoalCode: shorten.GoalOOB, Validity: seconds(0)}, shorten.CodeValidity},
		"for too long":      {shorten.RequestBody{URL: u, GoalCode: shorten.GoalOOB, Validity: seconds(30*86400 + 1)}, shorten.CodeValidity},
		"for very long":     {shorten.RequestBody{URL: u, GoalCode: shorten.GoalOOB, Validity: seconds(1 << 62)}, shorten.CodeValidity},
		"a negative time":   {shorten.RequestBody{URL: u, GoalCode: shorten.GoalOOB, Validity: seconds(-1)}, shorten.CodeValidity},
		"a slug":            {shorten.RequestBody{URL: u, GoalCode: shorten.GoalOOB, Slug: "invite-28"}, shorten.CodeNoSlugs},
		"a body of numbers": {map[string]any{"url": 1}, "e.m.msg"},
	} {
		t.Run(name, func(t *testing.T) {
			mediator, clients := serve(t, newShortener(t, nil), 1)
			m, err := message.New(shorten.TypeRequest, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			m.To = []string{mediator.DID()}
			_, err = clients[0].Request(t.Context(), m)
			wantProblem(t, err, tt.code)
		})
	}
}

func TestSlugs(t *testing.T) {
	s := newShortener(t, func(cfg *shorten.Config) { cfg.AllowSlugs = true })
	mediator, clients := serve(t, s, 1)
	ask := func(slug string) error {
		m, err := message.New(shorten.TypeRequest, shorten.RequestBody{URL: long(t), GoalCode: shorten.Goal, Slug: slug})
		if err != nil {
			t.Fatal(err)
		}
		m.To = []string{mediator.DID()}
		_, err = clients[0].Request(t.Context(), m)
		return err
	}
	if err := ask("invite_28-A"); err != nil {
		t.Error(err)
	}
	if r := get(s, base+"?_oobid=invite_28-A", ""); r.StatusCode != http.StatusFound {
		t.Errorf("%+v", r)
	}
	for _, slug := range []string{"invite_28-A", "abc", strings.Repeat("x", 65), "a/../b", "a b c d", "été-été", "a&b=c", "%2e%2e%2e"} {
		wantProblem(t, ask(slug), shorten.CodeSlug)
	}
}

func TestAllowed(t *testing.T) {
	refused := &message.Problem{Code: "e.p.req.not_enroll"}
	var known string
	s := newShortener(t, func(cfg *shorten.Config) {
		cfg.MaxPerDID = 3
		cfg.Allow = func(_ context.Context, did string) error {
			if did != known {
				return refused
			}
			return nil
		}
	})
	mediator, clients := serve(t, s, 2)
	known = clients[0].DID()
	_, _, err := shorten.Shorten(t.Context(), clients[1], mediator.DID(), long(t), 0)
	wantProblem(t, err, refused.Code)
	wantProblem(t, shorten.Invalidate(t.Context(), clients[1], mediator.DID(), base+"?_oobid=AAAAAAAAAAAAAAAAAAAAAA"), refused.Code)

	// Of requests at the same time, no more than MaxPerDID are granted.
	errs := make(chan error, 8)
	var all sync.WaitGroup
	for range cap(errs) {
		all.Go(func() {
			_, _, err := shorten.Shorten(t.Context(), clients[0], mediator.DID(), long(t), 0)
			errs <- err
		})
	}
	all.Wait()
	close(errs)
	granted := 0
	for err := range errs {
		if err == nil {
			granted++
			continue
		}
		wantProblem(t, err, "e.p.me.res.short-urls")
	}
	if granted != 3 {
		t.Errorf("%d short URLs", granted)
	}
}

func TestMethods(t *testing.T) {
	s := newShortener(t, nil)
	for method, want := range map[string]int{"HEAD": 404, "POST": 405, "PUT": 405, "DELETE": 405} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, base, nil))
		if w.Code != want {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

func TestNew(t *testing.T) {
	for name, edit := range map[string]func(*shorten.Config){
		"no URL":     func(cfg *shorten.Config) { cfg.URL = "" },
		"a path":     func(cfg *shorten.Config) { cfg.URL = "/s" },
		"a query":    func(cfg *shorten.Config) { cfg.URL += "?x=1" },
		"no records": func(cfg *shorten.Config) { cfg.Records = nil },
		"no Allow":   func(cfg *shorten.Config) { cfg.Allow = nil },
	} {
		cfg := shorten.Config{URL: base, Records: store.NewRecords(store.RecordsConfig{}), Allow: func(context.Context, string) error { return nil }}
		edit(&cfg)
		if _, err := shorten.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A short URL is opened over a socket, in both forms of the answer.
func TestOpened(t *testing.T) {
	var s shortener
	accept := "application/json"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Accept", accept)
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	s = newShortener(t, func(cfg *shorten.Config) { cfg.URL = server.URL + "/i" })
	mediator, clients := serve(t, s, 1)
	short, _, err := shorten.Shorten(t.Context(), clients[0], mediator.DID(), long(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(short); err != nil || u.Path != "/i" {
		t.Fatal(short, err)
	}
	o, err := outofband.NewOpener(outofband.OpenerConfig{Dial: (&netguard.Guard{AllowLoopback: true}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	for _, accept = range []string{"application/json", "*/*"} {
		if i, err := o.Open(t.Context(), short); err != nil || i.From != "did:example:alice" {
			t.Errorf("Accept %s: %+v, %v", accept, i, err)
		}
	}
}
