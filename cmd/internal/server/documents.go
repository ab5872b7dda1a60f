package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/labstack/echo/v4"
)

// publish answers with a DID document of the home: that of the did:web that names a host of
// this server and the path of the request.
func (s *Server) publish(c echo.Context) error {
	r := c.Request()
	ids := s.candidates(r.Host, r.URL.EscapedPath())
	if len(ids) == 0 || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return echo.ErrNotFound
	}
	didweb.Handler(func(ctx context.Context) (doc *did.Document, err error) {
		for _, id := range ids {
			if doc, err = s.home.Set.Resolve(ctx, id); !errors.Is(err, did.ErrNotFound) {
				break
			}
		}
		return doc, err
	}).ServeHTTP(c.Response(), r)
	return nil
}

// candidates returns the did:web DIDs whose documents belong to a path of this server. The DID
// with the host of the request is the first.
func (s *Server) candidates(asked, path string) []string {
	name := strings.ReplaceAll(strings.TrimSuffix(path, "/did.json"), "/", ":")
	if name == ":.well-known" {
		name = ""
	}
	asked = escapePort(strings.ToLower(asked))
	var ids []string
	for _, host := range s.hosts {
		id := "did:web:" + host + name
		if at, err := didweb.PathOf(id); err != nil || at != path {
			continue
		}
		if host == asked {
			ids = slices.Insert(ids, 0, id)
		} else {
			ids = append(ids, id)
		}
	}
	return ids
}

// webHosts returns the hosts of this server in the form of a did:web: those of the public URL
// and of --did. If only this machine can reach the agent, localhost is one of them.
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

// hostOf returns the host of a URL, with the port unless it is the default port.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch port := u.Port(); {
	case u.Scheme == "http" && port == "80", u.Scheme == "https" && port == "443":
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host
}

func escapePort(host string) string { return strings.ReplaceAll(host, ":", "%3A") }
