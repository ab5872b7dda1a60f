package server

import (
	"net/http"
	"time"
)

// lingerTime is how long the rest of a request is read that is refused because of its body.
const lingerTime = time.Second

// front returns the handler in front of all paths of the server.
func (s *Server) front(next http.Handler) http.Handler {
	messages := s.endpoint.EscapedPath()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && r.URL.EscapedPath() != messages {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerTime))
			w.Header().Set("Connection", "close")
			http.Error(w, "this path takes no body", http.StatusRequestEntityTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}
