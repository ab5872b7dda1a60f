package didweb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

// MediaType is the media type of the documents that [Handler] serves (DID Core 1.0,
// section 6.2).
const MediaType = "application/did+json"

// Handler returns an HTTP handler that serves the document which the given function
// returns for each request. Mount it at the path that [PathOf] returns. It answers GET
// and HEAD, with an ETag, and allows requests from any origin (section Cross-Origin
// Resource Sharing). If the function returns an error, the status is 404 if the error
// matches did.ErrNotFound, and 503 otherwise.
func Handler(document func(ctx context.Context) (*did.Document, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		doc, err := document(r.Context())
		var body []byte
		if err == nil {
			body, err = doc.MarshalJSON()
		}
		switch {
		case errors.Is(err, did.ErrNotFound):
			http.Error(w, "no such document", http.StatusNotFound)
			return
		case err != nil:
			w.Header().Set("Retry-After", "10")
			http.Error(w, "document not available", http.StatusServiceUnavailable)
			return
		}
		sum := sha256.Sum256(body)
		h := w.Header()
		h.Set("Content-Type", MediaType)
		h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
		h.Set("Cache-Control", "no-cache") // peers must see a rotated key at once; the ETag makes revalidation cheap
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}
