package shorten

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/outofband"
)

var _ http.Handler = (*Shortener)(nil)

// ServeHTTP answers a GET or HEAD of a short URL with a redirect to the long one, or with the
// invitation in it if the client accepts application/json. An unknown short URL is answered
// with 404, and any with 503 if the records cannot be read. No answer may be cached. Web
// pages of all origins may read the answers.
func (s *Shortener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Vary", "Accept")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	long, err := s.long(r)
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, "no such invitation", http.StatusNotFound)
		return
	case err != nil:
		h.Set("Retry-After", "10")
		http.Error(w, "invitation not available", http.StatusServiceUnavailable)
		return
	}
	if AcceptsJSON(r) {
		if payload, err := outofband.Payload(long); err == nil {
			h.Set("Content-Type", "application/json")
			_, _ = w.Write(payload) // the client may have gone
			return
		}
	}
	h.Set("Location", long)
	w.WriteHeader(http.StatusFound)
}

// AcceptsJSON reports whether the client of a request asks for JSON by name.
func AcceptsJSON(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept") {
		for kind := range strings.SplitSeq(header, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "application/json", "application/didcomm-plain+json":
				return true
			}
		}
	}
	return false
}

// long returns the long URL of a request. The error matches store.ErrNotFound if there is none.
func (s *Shortener) long(r *http.Request) (string, error) {
	slug := r.URL.Query().Get("_oobid")
	if !validSlug(slug) {
		return "", store.ErrNotFound
	}
	record, err := s.cfg.Records.Get(r.Context(), collection, slug)
	if err != nil {
		return "", err
	}
	var e entry
	err = json.Unmarshal(record.Value, &e)
	return e.URL, err
}
