package server

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/labstack/echo/v4"
)

// documentFile ends the path of the document of a did:web.
const documentFile = "/did.json"

// publish answers with the document of the did:web of the home that names the host of this
// server and the path of the request.
func (s *Server) publish(c echo.Context) error {
	r := c.Request()
	path, ok := strings.CutSuffix(r.URL.EscapedPath(), documentFile)
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return echo.ErrNotFound
	}
	didweb.Handler(func(ctx context.Context) (*did.Document, error) {
		err := did.ErrNotFound
		for _, id := range s.candidates(r.Host, path) {
			var doc *did.Document
			if doc, err = s.home.DIDs.Resolve(ctx, id); err == nil {
				return doc, nil
			}
		}
		return nil, err
	}).ServeHTTP(c.Response(), r)
	return nil
}

// candidates are the did:webs of this server whose documents stand below a path, the one of
// the host that was asked first.
func (s *Server) candidates(asked, path string) []string {
	suffix := ""
	if path != "/.well-known" {
		suffix = strings.ReplaceAll(path, "/", ":")
	}
	if strings.Contains(path, ":") { // would be taken for a "/"
		return nil
	}
	var ids []string
	for _, host := range s.hosts {
		id := "did:web:" + host + suffix
		if host == escapePort(strings.ToLower(asked)) {
			ids = slices.Insert(ids, 0, id)
		} else {
			ids = append(ids, id)
		}
	}
	return ids
}

// webHosts are the hosts of this server as a did:web names them: those of the public URL and
// of --did, and localhost where others on this machine alone can reach the agent.
func (s *Server) webHosts() []string {
	hosts := []string{escapePort(hostOf(s.endpoint))}
	add := func(host string) {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if id, err := did.Parse(s.cfg.DID); err == nil {
		host, _, _ := strings.Cut(id.ID, ":")
		add(host)
	}
	if tcp, ok := s.listener.Addr().(*net.TCPAddr); ok && s.loopbackOnly() {
		local := *s.endpoint
		_, port, _ := net.SplitHostPort(tcp.String())
		local.Host = net.JoinHostPort("localhost", port)
		add(escapePort(hostOf(&local)))
	}
	return hosts
}

// hostOf is the host of a URL, with its port unless that is the default.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch port := u.Port(); {
	case u.Scheme == "http" && port == "80", u.Scheme == "https" && port == "443":
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host
}

func escapePort(host string) string { return strings.ReplaceAll(host, ":", "%3A") }
