package outofband_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

func opener(t *testing.T, guard *netguard.Guard, timeout time.Duration) *outofband.Opener {
	t.Helper()
	o, err := outofband.NewOpener(outofband.OpenerConfig{Dial: guard.DialContext, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

var loopback = &netguard.Guard{AllowLoopback: true}

func redirect(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(to, "HOST", r.Host))
		w.WriteHeader(status)
	}
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func TestOpen(t *testing.T) {
	query := exampleURL[strings.Index(exampleURL, "?"):]
	for name, h := range map[string]http.HandlerFunc{
		"301":             redirect(301, exampleURL),
		"302":             redirect(302, exampleURL),
		"303":             redirect(303, exampleURL),
		"307":             redirect(307, exampleURL),
		"308":             redirect(308, exampleURL),
		"relative":        redirect(302, "/other"+query),
		"another scheme":  redirect(302, "didcomm://invite"+query),
		"to a dead host":  redirect(302, "https://127.0.0.1:1/"+query),
		"JSON":            answer(example),
		"URL as text":     answer(exampleURL + "\n"),
		"base64":          answer(query[len("?_oob="):]),
		"a second server": redirect(302, "http://HOST/?_oobid=JSON"),
		"three redirects": redirect(302, "http://HOST/?_oobid=two"),
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.Header.Get("Accept") != "application/json" {
					t.Errorf("%s, Accept %s", r.Method, r.Header.Get("Accept"))
				}
				switch r.URL.Query().Get("_oobid") {
				case "two":
					redirect(302, "/?_oobid=one")(w, r)
				case "one":
					redirect(302, "/?_oobid=JSON")(w, r)
				case "JSON":
					answer(example)(w, r)
				default:
					h(w, r)
				}
			}))
			defer s.Close()
			i, err := opener(t, loopback, 0).Open(t.Context(), " "+s.URL+"/path?_oobid=5f0e3ffb\n")
			if err != nil || i.From != "did:example:alice" {
				t.Errorf("%+v, %v", i, err)
			}
		})
	}
}

func TestOpenRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		want error // nil means any
	}{
		"not found":             {redirect(404, ""), outofband.ErrNotFound},
		"gone":                  {redirect(410, ""), outofband.ErrNotFound},
		"an error":              {redirect(500, ""), nil},
		"no content":            {redirect(204, ""), nil},
		"not modified":          {redirect(304, exampleURL), nil},
		"no place":              {redirect(302, ""), outofband.ErrInvalid},
		"a page":                {answer("<html><a href='" + exampleURL + "'>"), outofband.ErrInvalid},
		"another short URL":     {answer("https://example.com?_oobid=1"), outofband.ErrInvalid},
		"a v1 invitation":       {answer(`{"@type":"https://didcomm.org/out-of-band/1.1/invitation","@id":"1"}`), outofband.ErrVersion},
		"a bad invitation":      {redirect(302, "https://example.com?_oob=e30"), outofband.ErrInvalid},
		"a loop":                {redirect(302, "http://HOST/"), outofband.ErrInvalid},
		"a file":                {redirect(302, "file:///etc/passwd"), outofband.ErrInvalid},
		"a user":                {redirect(302, "http://u:p@HOST/"), outofband.ErrInvalid},
		"no host":               {redirect(302, "http:///x"), outofband.ErrInvalid},
		"a private network":     {redirect(302, "http://10.0.0.1/"), outofband.ErrRefused},
		"the metadata service":  {redirect(302, "http://169.254.169.254/latest/?_oobid=1"), outofband.ErrRefused},
		"everything":            {redirect(302, "http://0.0.0.0/"), outofband.ErrRefused},
		"IPv4 in IPv6":          {redirect(302, "http://[64:ff9b::7f00:1]/"), outofband.ErrRefused},
		"a huge body":           {answer(strings.Repeat("x", 1<<20)), outofband.ErrInvalid},
		"huge JSON":             {answer(minimal(`,"body":{"goal":"` + strings.Repeat("x", 1<<20) + `"}`)), outofband.ErrInvalid},
		"a huge place":          {redirect(302, "https://example.com?_oob="+strings.Repeat("x", 1<<20)), nil},
		"a very long goal here": {redirect(302, "https://example.com?_oob="+strings.Repeat("x", outofband.MaxBytes)), outofband.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				tt.h(w, r)
			}))
			defer s.Close()
			i, err := opener(t, loopback, 0).Open(t.Context(), s.URL)
			if i != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%+v, %v; want %v", i, err, tt.want)
			}
			if n := asked.Load(); n > outofband.MaxRedirects+1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// What is no short URL is not fetched.
func TestOpenParses(t *testing.T) {
	o, err := outofband.NewOpener(outofband.OpenerConfig{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("connects")
		return nil, errors.New("no")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := o.Open(t.Context(), exampleURL); err != nil || i.From != "did:example:alice" {
		t.Errorf("%+v, %v", i, err)
	}
	for text, want := range map[string]error{
		"nonsense":              outofband.ErrInvalid,
		"ftp://127.0.0.1/?x":    outofband.ErrShort,
		"didcomm://x?_oobid=1":  outofband.ErrShort,
		"http://u@127.0.0.1/?x": outofband.ErrShort,
		"http:opaque":           outofband.ErrShort,
	} {
		if i, err := o.Open(t.Context(), text); i != nil || !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v", text, i, err)
		}
	}
	if _, err := outofband.NewOpener(outofband.OpenerConfig{}); err == nil {
		t.Error("an Opener without a dial function")
	}
}

// By default a short URL leads to no address of this machine.
func TestOpenGuarded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for _, u := range []string{s.URL, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://[::1]:" + port} {
		if i, err := opener(t, &netguard.Guard{}, 0).Open(t.Context(), u); i != nil || !errors.Is(err, outofband.ErrRefused) {
			t.Errorf("%s: %+v, %v", u, i, err)
		}
	}
}

func TestOpenRefusesDowngrade(t *testing.T) {
	plain := httptest.NewServer(answer(example))
	defer plain.Close()
	s := httptest.NewTLSServer(redirect(302, plain.URL))
	defer s.Close()
	o, err := outofband.NewOpener(outofband.OpenerConfig{Dial: loopback.DialContext, RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := o.Open(t.Context(), s.URL); i != nil || !errors.Is(err, outofband.ErrInvalid) {
		t.Errorf("%+v, %v", i, err)
	}
}

// A server that never ends its answer, or never begins it, holds Open for Timeout only.
func TestOpenSlow(t *testing.T) {
	for _, header := range []bool{false, true} {
		t.Run(fmt.Sprintf("header %v", header), func(t *testing.T) {
			end := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if header {
					w.WriteHeader(200)
					_ = http.NewResponseController(w).Flush()
				}
				<-end
			}))
			defer s.Close()
			defer close(end)
			if i, err := opener(t, loopback, 50*time.Millisecond).Open(t.Context(), s.URL); i != nil || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%+v, %v", i, err)
			}
		})
	}
}
