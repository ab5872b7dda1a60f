package didweb_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
)

func handle(t *testing.T, h http.Handler, method string, header http.Header) *http.Response {
	t.Helper()
	req := httptest.NewRequest(method, "/.well-known/did.json", nil)
	for k, v := range header {
		req.Header[k] = v
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Result()
}

func TestHandler(t *testing.T) {
	const id = "did:web:example.com"
	text := document(id)
	var fail error
	h := didweb.Handler(func(context.Context) (*did.Document, error) {
		if fail != nil {
			return nil, fail
		}
		return did.ParseDocument([]byte(text))
	})
	get := handle(t, h, "GET", nil)
	body, _ := io.ReadAll(get.Body)
	doc, err := did.ParseDocument(body)
	if err != nil || doc.ID != id || get.StatusCode != 200 {
		t.Errorf("GET: %d %s, %v", get.StatusCode, body, err)
	}
	if ct := get.Header.Get("Content-Type"); ct != "application/did+json" {
		t.Errorf("content type %q", ct)
	}
	if o := get.Header.Get("Access-Control-Allow-Origin"); o != "*" {
		t.Errorf("allowed origin %q", o)
	}
	etag := get.Header.Get("ETag")

	head := handle(t, h, "HEAD", nil)
	if b, _ := io.ReadAll(head.Body); head.StatusCode != 200 || len(b) != 0 || head.ContentLength != int64(len(body)) || head.Header.Get("ETag") != etag {
		t.Errorf("HEAD: %d, %q, %v", head.StatusCode, b, head.Header)
	}
	known := handle(t, h, "GET", http.Header{"If-None-Match": {etag}})
	if b, _ := io.ReadAll(known.Body); etag == "" || known.StatusCode != 304 || len(b) != 0 {
		t.Errorf("GET of a known etag %q: %d, %q", etag, known.StatusCode, b)
	}
	text = strings.Replace(text, `["#key-1"]`, `[]`, 1)
	if changed := handle(t, h, "GET", http.Header{"If-None-Match": {etag}}); changed.StatusCode != 200 || changed.Header.Get("ETag") == etag {
		t.Errorf("GET of a changed document: %d, %s", changed.StatusCode, changed.Header.Get("ETag"))
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if resp := handle(t, h, method, nil); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, %v", method, resp.StatusCode, resp.Header)
		}
	}
	for want, err := range map[int]error{404: did.ErrNotFound, 503: errors.New("secret reason")} {
		fail = err
		resp := handle(t, h, "GET", nil)
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != want || strings.Contains(string(b), "secret") {
			t.Errorf("%v: %d %q", err, resp.StatusCode, b)
		}
	}
}

// TestHostAndResolve publishes a document at PathOf and resolves it there.
func TestHostAndResolve(t *testing.T) {
	w := newWeb(t)
	for _, domain := range []string{"example.com", "example.com:8443/agents/alice", "www.example.com/a b"} {
		id, err := didweb.New(domain)
		if err != nil {
			t.Fatal(err)
		}
		path, err := didweb.PathOf(id)
		if err != nil {
			t.Fatal(err)
		}
		w.mux.Handle(path, didweb.Handler(func(context.Context) (*did.Document, error) {
			return did.ParseDocument([]byte(document(id)))
		}))
		if doc, err := w.resolver(t, nil).Resolve(t.Context(), id); err != nil || doc.ID != id {
			t.Errorf("%s: %v", id, err)
		}
	}
}
