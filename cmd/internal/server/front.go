package server

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// lingerTime is how long the rest of a request is read that is answered without its body.
const lingerTime = time.Second

// guard returns the handler in front of all paths of the server.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		named, messages := s.answersFor(r.Host), s.takesMessages(r)
		origin := r.Header.Get("Origin")
		allowed := w.Header().Get("Access-Control-Allow-Origin") != ""
		// A page can send a POST without a media type although it may not read the response.
		foreign := messages && r.Method == http.MethodPost && origin != "" && origin != s.origin() && !allowed
		if r.ContentLength != 0 && (!named || !messages || foreign) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerTime))
			w.Header().Set("Connection", "close")
		}
		switch {
		case !named:
			http.Error(w, "this agent has another host name", http.StatusMisdirectedRequest)
		case foreign:
			http.Error(w, "the origin is not allowed", http.StatusForbidden)
		case messages && r.Method == http.MethodOptions && allowed:
			w.Header().Set("Access-Control-Allow-Methods", http.MethodPost)
			w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
			w.Header().Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// takesMessages reports whether a request is for a path of messages, the only paths that
// take a body (see messagePaths).
func (s *Server) takesMessages(r *http.Request) bool {
	own := cmp.Or(s.endpoint.Path, "/")
	return r.URL.Path == own || s.cfg.Mediator.On && r.URL.Path == own+"/"
}

// answersFor reports whether the agent answers requests for a host. If it listens on loopback,
// it does so only for its own names. Otherwise a web page could reach the agent under the name
// of its own site, by letting that name lead to this machine (DNS rebinding). A request without
// a host is from no browser.
func (s *Server) answersFor(host string) bool {
	if tcp, ok := s.listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return true
	}
	name := hostName(host)
	return name == "" || isLoopback(name) || slices.ContainsFunc(s.hosts, func(own string) bool {
		return hostName(strings.ReplaceAll(own, "%3A", ":")) == name
	})
}

// hostName returns a host in lower case, without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// share returns the handler that lets the web pages of AllowOrigins read the responses of next
// to messages (Cross-Origin Resource Sharing).
func (s *Server) share(next http.Handler) http.Handler {
	if len(s.cfg.AllowOrigins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.takesMessages(r) {
			h, origin := w.Header(), r.Header.Get("Origin")
			h.Add("Vary", "Origin")
			if origin != "" && (slices.Contains(s.cfg.AllowOrigins, origin) || slices.Contains(s.cfg.AllowOrigins, "*")) {
				h.Set("Access-Control-Allow-Origin", origin)
				h.Set("Access-Control-Expose-Headers", "Retry-After")
			}
		}
		next.ServeHTTP(w, r)
	})
}

// origin returns the origin of the public URL. WebSocket clients that are no browsers, such as
// those of React Native, send the origin of the URL that they connect to.
func (s *Server) origin() string { return s.endpoint.Scheme + "://" + hostOf(s.endpoint) }

// checkOrigins returns an error for a value of AllowOrigins that no browser sends.
func checkOrigins(origins []string) error {
	for _, s := range origins {
		u, err := url.Parse(s)
		if s != "*" && (err != nil || u.Host == "" || s != strings.ToLower(u.Scheme+"://"+u.Host)) {
			return fmt.Errorf("--allow-origin %q: want SCHEME://HOST[:PORT] in lower case, or *", s)
		}
	}
	return nil
}
