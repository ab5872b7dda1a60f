// Package endpoint is what the clients of URL endpoints share: they parse the
// URL with Parse and classify what went wrong with Malformed, Network and
// Status, so that HTTP and WebSocket agree on what is worth a retry.
package endpoint

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

// maxRetryAfter bounds the delay that a peer can ask for.
const maxRetryAfter = 24 * time.Hour

// Parse returns the URL of an endpoint that has one of the schemes and a host.
// User information in an endpoint is refused: it would be sent as credentials.
// The error is a *transport.SendError that is not retryable.
func Parse(endpoint string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, Malformed(endpoint, fmt.Errorf("malformed endpoint: %w", err))
	case !slices.Contains(schemes, u.Scheme):
		return nil, Malformed(endpoint, fmt.Errorf("malformed endpoint: scheme is not %s", strings.Join(schemes, " or ")))
	case u.Hostname() == "":
		return nil, Malformed(endpoint, errors.New("malformed endpoint: no host"))
	case u.User != nil:
		return nil, Malformed(endpoint, errors.New("malformed endpoint: user information"))
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Malformed is an error that no retry changes.
func Malformed(endpoint string, err error) *transport.SendError {
	return &transport.SendError{Endpoint: endpoint, Err: err}
}

// Network is a failed exchange: retryable, unless the address was refused.
func Network(endpoint string, err error) *transport.SendError {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // it repeats the endpoint, which SendError names
	}
	return &transport.SendError{Endpoint: endpoint, Retryable: !errors.Is(err, netguard.ErrRefused), Err: err}
}

// Untaken is the outcome of an exchange in which the peer answered and the Handler
// of the answer returned err: nil where that is no loss, or will be the same the
// next time.
func Untaken(endpoint string, err error) error {
	var reject *transport.RejectError
	var panicked *transport.PanicError
	if err == nil || errors.As(err, &reject) || errors.As(err, &panicked) {
		return nil
	}
	e := &transport.SendError{Endpoint: endpoint, Retryable: true, Err: fmt.Errorf("its answer was not taken: %w", err)}
	var busy *transport.BusyError
	if errors.As(err, &busy) {
		e.RetryAfter = busy.RetryAfter
	}
	return e
}

// Status is a response other than the one hoped for. 408, 425, 429 and 5xx are
// retryable. A line of plain text in the body, in which agents say why, becomes
// part of the error.
func Status(endpoint string, resp *http.Response, now time.Time) *transport.SendError {
	e := &transport.SendError{Endpoint: endpoint, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now)}
	switch code := resp.StatusCode; code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Retryable, e.Busy = true, true
	default:
		e.Retryable = code >= 500
	}
	if !e.Retryable {
		e.RetryAfter = 0
	}
	text := fmt.Sprintf("status %d", resp.StatusCode)
	if t := http.StatusText(resp.StatusCode); t != "" {
		text += " " + t
	}
	if line := reason(resp); line != "" {
		text += fmt.Sprintf(": %q", line)
	}
	switch resp.StatusCode {
	case http.StatusRequestEntityTooLarge:
		e.Err = fmt.Errorf("%s: %w", text, transport.ErrTooLarge)
	case http.StatusUnsupportedMediaType:
		e.Err = fmt.Errorf("%s: %w", text, transport.ErrMediaType)
	default:
		e.Err = errors.New(text)
	}
	return e
}

// reason returns the first line, of at most 200 bytes, of a text/plain body.
func reason(resp *http.Response) string {
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if t != "text/plain" || resp.Body == nil {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(strings.ToValidUTF8(line, ""))
}

// retryAfter reads both forms of RFC 9110, section 10.2.3; 0 if there is none.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if n, err := strconv.ParseUint(v, 10, 63); err == nil {
		if n > uint64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(n) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return maxRetryAfter
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(t.Sub(now), 0), maxRetryAfter)
}

// MediaType returns the bare media type to send p under: some peers compare the
// exact string. A packet that names none is an envelope that was carried for
// somebody else, and those are encrypted. An empty packet is refused.
func MediaType(p transport.Packet) (string, error) {
	if len(p.Data) == 0 {
		return "", errors.New("empty packet")
	}
	t, err := transport.ParseMediaType(p.MediaType)
	if t == "" && err == nil {
		t = transport.MediaTypeEncrypted
	}
	return t, err
}
