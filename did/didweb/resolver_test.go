package didweb_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

// web is a TLS server on loopback that stands for every host: dials to any name
// reach it, and are recorded.
type web struct {
	*httptest.Server
	mux *http.ServeMux

	mu    sync.Mutex
	dials []string // guarded by mu
}

// httptest's certificate is for example.com and *.example.com.
const host = "example.com"

func newWeb(t *testing.T) *web {
	t.Helper()
	w := &web{mux: http.NewServeMux()}
	w.Server = httptest.NewUnstartedServer(w.mux)
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

func (w *web) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, addr)
	w.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, w.Listener.Addr().String())
}

func (w *web) dialled() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.dials...)
}

func (w *web) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.Certificate())
	return pool
}

// resolver trusts the server's certificate; change may alter its config.
func (w *web) resolver(t *testing.T, change func(*didweb.Config)) *didweb.Resolver {
	t.Helper()
	cfg := didweb.Config{Dial: w.dial, RootCAs: w.roots()}
	if change != nil {
		change(&cfg)
	}
	r, err := didweb.NewResolver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func document(id string) string {
	return fmt.Sprintf(`{"@context":"https://www.w3.org/ns/did/v1","id":%q,"verificationMethod":[{"id":"#key-1","type":"Multikey","controller":%q,`+
		`"publicKeyMultibase":"z6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc"}],"authentication":["#key-1"]}`, id, id)
}

func serve(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		io.WriteString(w, body)
	}
}

func TestNewResolverNeedsDial(t *testing.T) {
	if r, err := didweb.NewResolver(didweb.Config{}); r != nil || err == nil {
		t.Errorf("NewResolver without Dial = %v, %v", r, err)
	}
}

func TestResolve(t *testing.T) {
	w := newWeb(t)
	for id, path := range map[string]string{
		"did:web:example.com":                     "/.well-known/did.json",
		"did:web:example.com:user:alice":          "/user/alice/did.json",
		"did:web:sub.example.com%3A3000:relative": "/relative/did.json",
		"did:web:example.com:a%20b":               "/a b/did.json",
	} {
		w.mux.HandleFunc("GET "+path, serve("application/json", document(id)))
		doc, err := w.resolver(t, nil).Resolve(t.Context(), id)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if m, ok := doc.Method(id + "#key-1"); !ok || doc.ID != id || m != doc.AuthenticationKeys()[0] {
			t.Errorf("%s: %+v", id, doc)
		}
	}
	var ported bool
	for _, addr := range w.dialled() {
		ported = ported || addr == "sub.example.com:3000"
	}
	if !ported || len(w.dialled()) != 4 {
		t.Errorf("dialled %v", w.dialled())
	}
}

func TestMediaTypes(t *testing.T) {
	w := newWeb(t)
	for i, mt := range []string{"application/did+json", "application/did+ld+json", "application/json; charset=utf-8", "text/plain", "application/octet-stream", ""} {
		id := fmt.Sprintf("did:web:example.com:%d", i)
		w.mux.HandleFunc(fmt.Sprintf("/%d/did.json", i), serve(mt, document(id)))
		if _, err := w.resolver(t, nil).Resolve(t.Context(), id); err != nil {
			t.Errorf("%q: %v", mt, err)
		}
	}
}

func TestResolveFails(t *testing.T) {
	w := newWeb(t)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(code)
			io.WriteString(w, document("did:web:example.com:s"))
		}
	}
	w.mux.HandleFunc("/404/did.json", status(404))
	w.mux.HandleFunc("/410/did.json", status(410))
	w.mux.HandleFunc("/500/did.json", status(500))
	w.mux.HandleFunc("/204/did.json", status(204))
	w.mux.HandleFunc("/403/did.json", status(403))
	w.mux.HandleFunc("/other/did.json", serve("application/json", document("did:web:example.com:victim")))
	w.mux.HandleFunc("/case/did.json", serve("application/json", document("did:web:Example.com:case")))
	w.mux.HandleFunc("/html/did.json", serve("text/html", "<html>welcome</html>"))
	w.mux.HandleFunc("/empty/did.json", serve("application/json", ""))
	w.mux.HandleFunc("/noid/did.json", serve("application/json", "{}"))
	w.mux.HandleFunc("/twice/did.json", serve("application/json", `{"id":"did:web:example.com:twice","id":"did:web:example.com:twice"}`))
	w.mux.HandleFunc("/cut/did.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, document("did:web:example.com:cut"))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	none := errors.New("no sentinel")
	for path, want := range map[string]error{
		"404": did.ErrNotFound, "410": did.ErrNotFound, "absent": did.ErrNotFound,
		"500": none, "204": none, "403": none, "cut": none,
		"other": did.ErrInvalid, "case": did.ErrInvalid, "html": did.ErrInvalid, "empty": did.ErrInvalid,
		"noid": did.ErrInvalid, "twice": did.ErrInvalid,
	} {
		doc, err := w.resolver(t, nil).Resolve(t.Context(), "did:web:example.com:"+path)
		if doc != nil || err == nil {
			t.Errorf("%s: resolved", path)
			continue
		}
		for _, class := range []error{did.ErrNotFound, did.ErrInvalid, did.ErrMethod, did.ErrUnsupported} {
			if errors.Is(err, class) != (class == want) {
				t.Errorf("%s: %v; want %v", path, err, want)
			}
		}
	}
	before := len(w.dialled())
	for _, id := range append(refusedIDs(), "did:web:127.0.0.1", "did:web:8.8.8.8%3A80") {
		doc, err := w.resolver(t, nil).Resolve(t.Context(), id)
		if doc != nil || !errors.Is(err, did.ErrInvalid) && !errors.Is(err, did.ErrMethod) {
			t.Errorf("%s: %v, %v", id, doc, err)
		}
	}
	if after := len(w.dialled()); after != before {
		t.Errorf("refused ids were dialled: %v", w.dialled()[before:])
	}
}

func TestDialErrorComesThrough(t *testing.T) {
	refused := errors.New("refused")
	r, err := didweb.NewResolver(didweb.Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve(t.Context(), "did:web:example.com"); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
}

// An address that the guard refuses is a final error.
func TestAddressRefused(t *testing.T) {
	r, err := didweb.NewResolver(didweb.Config{Dial: (&netguard.Guard{}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	resolver := did.NewCache(did.Methods{"web": r}, did.CacheConfig{})
	if _, err := resolver.Resolve(t.Context(), "did:web:localhost%3A1"); !errors.Is(err, did.ErrRefused) || !errors.Is(err, netguard.ErrRefused) {
		t.Errorf("error %v", err)
	}
	r, err = didweb.NewResolver(didweb.Config{Dial: (&netguard.Guard{AllowLoopback: true}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve(t.Context(), "did:web:localhost%3A1"); err == nil || errors.Is(err, did.ErrRefused) {
		t.Errorf("nothing listens: error %v", err)
	}
}

func TestCertificates(t *testing.T) {
	w := newWeb(t)
	w.mux.HandleFunc("/", serve("application/json", document("did:web:example.com")))
	var unknown x509.UnknownAuthorityError
	if _, err := w.resolver(t, func(c *didweb.Config) { c.RootCAs = x509.NewCertPool() }).Resolve(t.Context(), "did:web:example.com"); !errors.As(err, &unknown) {
		t.Errorf("unknown authority: %v", err)
	}
	var name x509.HostnameError
	if _, err := w.resolver(t, nil).Resolve(t.Context(), "did:web:example.org"); !errors.As(err, &name) {
		t.Errorf("another host's certificate: %v", err)
	}
	old := httptest.NewUnstartedServer(w.mux)
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	if _, err := w.resolver(t, func(c *didweb.Config) {
		c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, old.Listener.Addr().String())
		}
	}).Resolve(t.Context(), "did:web:example.com"); err == nil {
		t.Error("resolved over TLS 1.1")
	}
}

func TestRedirects(t *testing.T) {
	w := newWeb(t)
	redirect := func(from, to string) {
		w.mux.HandleFunc(from, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	}
	chain := func(n int) string {
		id := fmt.Sprintf("did:web:example.com:chain%d", n)
		redirect(fmt.Sprintf("/chain%d/did.json", n), fmt.Sprintf("https://h%d.example.com/hop%d/%d", n, n, n-1))
		for i := n - 1; i > 0; i-- {
			redirect(fmt.Sprintf("/hop%d/%d", n, i), fmt.Sprintf("https://h%d.example.com/hop%d/%d", i, n, i-1))
		}
		w.mux.HandleFunc(fmt.Sprintf("/hop%d/0", n), serve("application/json", document(id)))
		return id
	}
	for n := 1; n <= 5; n++ {
		id := chain(n)
		before := len(w.dialled())
		_, err := w.resolver(t, nil).Resolve(t.Context(), id)
		if (err == nil) != (n <= didweb.MaxRedirects) {
			t.Errorf("%d redirects: %v", n, err)
		}
		// Each hop goes through Dial, and none beyond the limit does.
		if got, want := len(w.dialled())-before, min(n, didweb.MaxRedirects)+1; got != want {
			t.Errorf("%d redirects: dialled %v, want %d", n, w.dialled()[before:], want)
		}
	}

	// The document is valid, but the redirects to it are not allowed.
	w.mux.HandleFunc("/target/{name}", func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, document("did:web:example.com:"+r.PathValue("name")))
	})
	redirect("/good/did.json", "https://example.com/target/good")
	if _, err := w.resolver(t, nil).Resolve(t.Context(), "did:web:example.com:good"); err != nil {
		t.Errorf("good redirect: %v", err)
	}
	allow := func(c *didweb.Config) { c.AllowHTTPLoopback = true }
	for name, to := range map[string]string{
		"http":     "http://example.com/target/http",
		"loopback": "http://localhost/target/loopback",
		"user":     "https://user:secret@example.com/target/user",
		"file":     "file:///etc/passwd",
		"self":     "/self/did.json",
		"nowhere":  "",
	} {
		redirect("/"+name+"/did.json", to)
		for _, change := range []func(*didweb.Config){nil, allow} {
			before := len(w.dialled())
			if _, err := w.resolver(t, change).Resolve(t.Context(), "did:web:example.com:"+name); err == nil {
				t.Errorf("%s: resolved", name)
			}
			for _, addr := range w.dialled()[before:] {
				if addr != "example.com:443" {
					t.Errorf("%s: dialled %s", name, addr)
				}
			}
		}
	}

	// The guard sees the hop: a redirect to an inner address ends there.
	refused := errors.New("refused")
	redirect("/inner/did.json", "https://169.254.169.254/latest")
	_, err := w.resolver(t, func(c *didweb.Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "169.254.") {
				return nil, refused
			}
			return w.dial(ctx, network, addr)
		}
	}).Resolve(t.Context(), "did:web:example.com:inner")
	if !errors.Is(err, refused) {
		t.Errorf("redirect to metadata: %v", err)
	}
}

func TestSize(t *testing.T) {
	w := newWeb(t)
	pad := func(id string, n int) string {
		text := document(id)
		return text + strings.Repeat(" ", n-len(text))
	}
	const most = 4096
	w.mux.HandleFunc("/fits/did.json", serve("application/json", pad("did:web:example.com:fits", most)))
	w.mux.HandleFunc("/over/did.json", serve("application/json", pad("did:web:example.com:over", most+1)))
	w.mux.HandleFunc("/chunked/did.json", func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).Flush()
		io.WriteString(rw, pad("did:web:example.com:chunked", most+1))
	})
	w.mux.HandleFunc("/bomb/did.json", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(rw)
		io.WriteString(z, pad("did:web:example.com:bomb", 8<<20))
		z.Close()
	})
	gone := make(chan struct{})
	w.mux.HandleFunc("/endless/did.json", func(rw http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for {
			if _, err := io.WriteString(rw, strings.Repeat(" ", 1<<10)); err != nil {
				return
			}
		}
	})
	limit := func(c *didweb.Config) { c.MaxBytes = most }
	if _, err := w.resolver(t, limit).Resolve(t.Context(), "did:web:example.com:fits"); err != nil {
		t.Errorf("fits: %v", err)
	}
	for _, name := range []string{"over", "chunked", "bomb", "endless"} {
		if doc, err := w.resolver(t, limit).Resolve(t.Context(), "did:web:example.com:"+name); doc != nil || !errors.Is(err, did.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, doc, err)
		}
	}
	<-gone // the connection was dropped, not drained

	big := document("did:web:example.com:big") + strings.Repeat(" ", didweb.DefaultMaxBytes)
	w.mux.HandleFunc("/big/did.json", serve("application/json", big))
	if _, err := w.resolver(t, nil).Resolve(t.Context(), "did:web:example.com:big"); !errors.Is(err, did.ErrInvalid) {
		t.Errorf("more than the default: %v", err)
	}
}

// Documents are read within the Budget: one that stalls gives way to other bytes.
func TestBudget(t *testing.T) {
	w := newWeb(t)
	budget := transport.NewBudget(256 << 10)
	r := w.resolver(t, func(c *didweb.Config) { c.Budget = budget })
	w.mux.HandleFunc("GET /stalled/did.json", func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 40<<10))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	w.mux.HandleFunc("GET /whole/did.json", serve("application/json", document("did:web:example.com:whole")))
	stalled := make(chan error, 1)
	go func() {
		_, err := r.Resolve(t.Context(), "did:web:example.com:stalled")
		stalled <- err
	}()
	for budget.Used() < 40<<10 {
		runtime.Gosched()
	}
	_, release, err := budget.ReadAll(strings.NewReader(strings.Repeat("x", 230<<10)), -1, 256<<10, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-stalled; !errors.Is(err, transport.ErrBudget) || errors.Is(err, did.ErrInvalid) {
		t.Errorf("the stalled document: %v", err)
	}
	release()
	if _, err := r.Resolve(t.Context(), "did:web:example.com:whole"); err != nil {
		t.Error(err)
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes are left", budget.Used())
	}
}

func TestSlow(t *testing.T) {
	w := newWeb(t)
	release := make(chan struct{})
	defer close(release)
	w.mux.HandleFunc("/header/did.json", func(http.ResponseWriter, *http.Request) { <-release })
	w.mux.HandleFunc("/body/did.json", func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, `{"id":`)
		http.NewResponseController(rw).Flush()
		<-release
	})
	short := func(c *didweb.Config) { c.Timeout = 100 * time.Millisecond }
	for _, name := range []string{"header", "body"} {
		if _, err := w.resolver(t, short).Resolve(t.Context(), "did:web:example.com:"+name); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.resolver(t, nil).Resolve(ctx, "did:web:example.com:"+name); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
	}
}

// A connection to a host that accepts it and says nothing is closed when Resolve returns.
func TestSilentHost(t *testing.T) {
	client, server := net.Pipe()
	resolved := make(chan struct{})
	defer server.Close()
	r, err := didweb.NewResolver(didweb.Config{
		Timeout: 100 * time.Millisecond,
		Dial:    func(context.Context, string, string) (net.Conn, error) { return client, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		if _, err := r.Resolve(t.Context(), "did:web:example.com"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(resolved)
	}()
	if _, err := io.Copy(io.Discard, server); err != nil {
		t.Errorf("not closed: %v", err)
	}
	<-resolved
}

func TestHTTPLoopback(t *testing.T) {
	plain := httptest.NewUnstartedServer(nil)
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	plain.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/moved/") {
			http.Redirect(w, r, "http://example.com/elsewhere", http.StatusFound)
			return
		}
		if r.URL.Path == "/elsewhere" {
			io.WriteString(w, document("did:web:localhost%3A8080:moved"))
			return
		}
		id, _ := didweb.New(r.Host)
		io.WriteString(w, document(id))
	})
	plain.Start()
	defer plain.Close()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, plain.Listener.Addr().String())
	}
	for _, tt := range []struct {
		id    string
		allow bool
		ok    bool
	}{
		{"did:web:localhost%3A8080", true, true},
		{"did:web:127.0.0.1%3A8080", true, true},
		{"did:web:127.9.9.9%3A8080", true, true},
		{"did:web:localhost%3A8080", false, false},
		{"did:web:127.0.0.1%3A8080", false, false},
		{"did:web:example.com%3A8080", true, false},
		{"did:web:10.0.0.1%3A8080", true, false},
		{"did:web:localhost.example.com%3A8080", true, false},
		{"did:web:localhost%3A8080:moved", true, false},
	} {
		r, err := didweb.NewResolver(didweb.Config{Dial: dial, AllowHTTPLoopback: tt.allow})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := r.Resolve(t.Context(), tt.id)
		if (err == nil) != tt.ok || tt.ok && doc.ID != tt.id {
			t.Errorf("%s, allowed %v: %v", tt.id, tt.allow, err)
		}
	}

	// A loopback host that speaks https is asked over https.
	w := newWeb(t)
	_, port, _ := net.SplitHostPort(w.Listener.Addr().String())
	id := "did:web:127.0.0.1%3A" + port
	w.mux.HandleFunc("/.well-known/did.json", func(rw http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			t.Error("asked over plain http")
		}
		io.WriteString(rw, document(id))
	})
	if _, err := w.resolver(t, func(c *didweb.Config) { c.AllowHTTPLoopback = true }).Resolve(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// TestNoProxy: Dial cannot check the addresses that a proxy connects to.
func TestNoProxy(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:9")
	}
	w := newWeb(t)
	w.mux.HandleFunc("/", serve("application/json", document("did:web:"+host)))
	if _, err := w.resolver(t, nil).Resolve(t.Context(), "did:web:"+host); err != nil {
		t.Error(err)
	}
	if got := w.dialled(); len(got) != 1 || got[0] != host+":443" {
		t.Errorf("dialled %v", got)
	}
}

// did.Methods adds the DID to errors, so the resolver must not repeat it.
func TestErrorNamesDIDOnce(t *testing.T) {
	w := newWeb(t)
	const id = "did:web:" + host + ":none"
	_, err := did.Methods{"web": w.resolver(t, nil)}.Resolve(t.Context(), id)
	if !errors.Is(err, did.ErrNotFound) || strings.Count(err.Error(), id) != 1 {
		t.Errorf("got %v", err)
	}
}
