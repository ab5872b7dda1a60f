package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/didcomm-go/didcomm/did/didweb"
)

// Check returns an error for invalid settings. It does not open anything.
func (c Config) Check() error {
	if c.Via != "" {
		return c.checkVia()
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("--listen %q: want HOST:PORT", c.Listen)
	}
	if c.PublicURL != "" {
		if _, err := parsePublicURL(c.PublicURL); err != nil {
			return err
		}
	}
	if c.DID != "" {
		if _, err := didweb.PathOf(c.DID); err != nil {
			return fmt.Errorf("--did %s: want a did:web: %w", c.DID, err)
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if c.ClientCA != "" && c.TLSCert == "" {
		return errors.New("--client-ca needs --tls-cert and --tls-key")
	}
	if ip := net.ParseIP(host); c.PublicURL == "" && c.DID == "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		return fmt.Errorf("peers cannot reach an agent at %s; say where they can with --public-url URL", c.Listen)
	}
	return c.checkCommon()
}

// checkCommon checks the settings of agents with and without a port.
func (c Config) checkCommon() error {
	if c.MaxBytes <= 0 {
		return fmt.Errorf("--max-bytes %d: want more than 0", c.MaxBytes)
	}
	if c.UnreadBytes != 0 && c.UnreadBytes < 2*c.MaxBytes {
		return fmt.Errorf("--unread-bytes %d: want at least twice --max-bytes", c.UnreadBytes)
	}
	if c.ReadTimeout <= 0 {
		return fmt.Errorf("--read-timeout %s: want more than 0", c.ReadTimeout)
	}
	if c.DeliverWithin <= 0 {
		return fmt.Errorf("--deliver-within %s: want more than 0", c.DeliverWithin)
	}
	if c.KeepReceived <= 0 {
		return fmt.Errorf("--keep-received %s: want more than 0", c.KeepReceived)
	}
	if c.Documents.Lifetime <= 0 {
		return fmt.Errorf("--did-web-lifetime %s: want more than 0", c.Documents.Lifetime)
	}
	if c.StrangerWithin <= 0 {
		return fmt.Errorf("--stranger-within %s: want more than 0", c.StrangerWithin)
	}
	if c.StrangerBytes <= 0 {
		return fmt.Errorf("--stranger-bytes %d: want more than 0", c.StrangerBytes)
	}
	for _, limit := range []struct {
		flag  string
		value int
	}{
		{"--report-burst", c.ReportBurst},
		{"--reports-per-hour", c.ReportsPerHour},
		{"--answer-burst", c.AnswerBurst},
		{"--answers-per-hour", c.AnswersPerHour},
		{"--stranger-tries", c.StrangerTries},
		{"--refused-tries", c.RefusedTries},
		{"--tries-per-host", c.HostTries},
		{"--did-web-per-minute", c.Documents.Strangers.PerMinute},
		{"--did-web-per-host", c.Documents.Strangers.HostPerMinute},
	} {
		if limit.value <= 0 {
			return fmt.Errorf("%s %d: want more than 0", limit.flag, limit.value)
		}
	}
	if err := checkOrigins(c.AllowOrigins); err != nil {
		return err
	}
	if err := c.Limits.check(); err != nil {
		return err
	}
	if err := c.Mediator.check(); err != nil {
		return err
	}
	return c.Home.Check()
}

func parsePublicURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--public-url %q: not a URL", s)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("--public-url %q: want http://HOST[:PORT][/PATH] or https", s)
	case !validPort(u.Port()):
		return nil, fmt.Errorf("--public-url %q: there is no port %s", s, u.Port())
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("--public-url %q: want no user, query or fragment", s)
	case slices.Contains(probes, u.Path) || u.Path == InvitationPath || strings.HasSuffix(u.Path, "/did.json"):
		return nil, fmt.Errorf("--public-url %q: the path is taken by the server itself", s)
	case strings.ContainsAny(u.Path, ":*"):
		return nil, fmt.Errorf("--public-url %q: want no %q or %q in the path", s, ":", "*")
	}
	return u, nil
}

// validPort reports whether the port of a URL is valid or absent.
func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// endpoint returns the URL for peers, for a server that listens at addr.
func (c Config) endpoint(addr net.Addr) (*url.URL, error) {
	if c.PublicURL != "" {
		return parsePublicURL(c.PublicURL)
	}
	u := &url.URL{Scheme: "https", Host: addr.String(), Path: DefaultPath}
	if c.Mediator.On {
		u.Path = "" // clients of mediators add a path, or a slash
	}
	if c.DID != "" {
		document, err := didweb.URLOf(c.DID)
		if err != nil {
			return nil, err
		}
		at, err := url.Parse(document)
		if err != nil {
			return nil, err
		}
		u.Host = at.Host
	}
	// TLS can end at a proxy that has the domain of a did:web.
	if c.TLSCert == "" && (c.DID == "" || isLoopback(u.Hostname())) {
		u.Scheme = "http"
	}
	return u, nil
}

// listenError returns in one line why the port could not be opened.
func listenError(addr string, err error) error {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program; choose another address with --listen HOST:PORT", addr)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission to listen on %s; ports under 1024 may need privileges", addr)
	case errors.As(err, &dns):
		return fmt.Errorf("--listen %s: unknown host", addr)
	}
	return fmt.Errorf("listen: %w", err)
}
