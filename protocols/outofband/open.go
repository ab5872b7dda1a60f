package outofband

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Limits of an [Opener].
const (
	DefaultTimeout = 10 * time.Second // default of OpenerConfig.Timeout
	MaxRedirects   = 3                // redirects that are followed for one invitation
)

var (
	// ErrRefused: the address guard refuses an address that a short URL leads to. Match it
	// with errors.Is.
	ErrRefused = errors.New("address refused")
	// ErrNotFound: the server knows no invitation for a short URL, or no longer. Match it with
	// errors.Is.
	ErrNotFound = errors.New("no such invitation")
)

// OpenerConfig configures [NewOpener].
type OpenerConfig struct {
	// Dial opens every connection, also after a redirect. It is required, and should refuse
	// addresses that strangers must not make this machine connect to, such as those of the
	// internal network: see netguard.Guard.DialContext of this module. If Dial returns an
	// error with a method AddressRefused() bool that returns true, or an error that wraps such
	// an error, then Open returns ErrRefused.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs are the trusted certificate authorities. nil means those of the system.
	RootCAs *x509.CertPool
	// Timeout limits one call of Open. 0 means DefaultTimeout.
	Timeout time.Duration
}

// Opener reads invitations, and fetches those that a short URL stands for (Short URL Message
// Retrieval). It may be used from several goroutines. Use [NewOpener] to make one.
type Opener struct {
	cfg    OpenerConfig
	client *http.Client
}

// NewOpener returns an Opener. It returns an error if cfg has no Dial function.
func NewOpener(cfg OpenerConfig) (*Opener, error) {
	if cfg.Dial == nil {
		return nil, errors.New("out-of-band: no dial function")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	o := &Opener{cfg: cfg}
	o.client = &http.Client{
		// Proxy stays nil, because Dial cannot check the addresses that a proxy connects to.
		Transport: &http.Transport{
			DialContext:            o.dial,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: MaxBytes + 16<<10, // with an invitation in Location
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return o, nil
}

// Open reads an invitation as [Parse] does. If the text is an http or https URL without an
// invitation, Open fetches the invitation: from a redirect to a URL with the parameter _oob,
// to which Open does not connect, or from a response whose body is an invitation in any form
// of Parse.
//
// Open follows [MaxRedirects] other redirects, but none from https to http. The errors are
// those of Parse, ErrRefused, ErrNotFound, and those of the connection.
func (o *Opener) Open(ctx context.Context, text string) (*Invitation, error) {
	i, err := Parse(text)
	if !errors.Is(err, ErrShort) {
		return i, err
	}
	u, parseErr := fetchable(strings.TrimSpace(text))
	if parseErr != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	end, _ := ctx.Deadline()
	ctx = context.WithValue(ctx, endKey{}, end)
	for range MaxRedirects + 1 {
		body, next, err := o.get(ctx, u)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // the end that dial has set
		}
		if err != nil {
			return nil, fmt.Errorf("fetch the invitation: %w", err)
		}
		text := body
		if next != nil {
			text = next.String()
		}
		i, err := Parse(text)
		if next == nil || !errors.Is(err, ErrShort) {
			if errors.Is(err, ErrShort) {
				err = fmt.Errorf("%w: the server answers with another URL", ErrInvalid)
			}
			return i, err
		}
		if next, err = fetchable(text); err != nil {
			return nil, err
		}
		if u.Scheme == "https" && next.Scheme != "https" {
			return nil, fmt.Errorf("%w: redirect from https to http", ErrInvalid)
		}
		u = next
	}
	return nil, fmt.Errorf("%w: more than %d redirects", ErrInvalid, MaxRedirects)
}

// fetchable returns a URL to which Open may connect.
func fetchable(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%w: want an http or https URL without a user", ErrInvalid)
	}
	return u, nil
}

// endKey is the key of the time when a call of Open ends.
type endKey struct{}

// dial opens a connection that ends when the call of Open ends. The http.Transport does not
// pass the end of a request on: it would go on with a TLS handshake that never ends.
func (o *Opener) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	end, _ := ctx.Value(endKey{}).(time.Time)
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	conn, err := o.cfg.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(end); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// get returns the body of a response, or the URL of a redirect.
func (o *Opener) get(ctx context.Context, u *url.URL) (body string, next *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := o.client.Do(req)
	if err != nil {
		var guard interface{ AddressRefused() bool }
		if errors.As(err, &guard) && guard.AddressRefused() {
			return "", nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return "", nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		data, err := io.ReadAll(io.LimitReader(resp.Body, MaxBytes+1))
		return string(data), nil, err
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		next, err := resp.Location()
		if err != nil {
			return "", nil, fmt.Errorf("%w: %s without a place", ErrInvalid, resp.Status)
		}
		return "", next, nil
	case http.StatusNotFound, http.StatusGone:
		return "", nil, fmt.Errorf("%w: the server answers %s", ErrNotFound, resp.Status)
	}
	return "", nil, fmt.Errorf("the server answers %s", resp.Status)
}
