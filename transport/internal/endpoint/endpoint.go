// Package endpoint is shared by the clients for URL endpoints. They parse endpoints with
// [Parse], and classify errors with [Malformed], [Network] and [Status], so that all
// transports agree which errors can be retried.
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

// maxRetryAfter is the longest delay that a peer can ask for.
const maxRetryAfter = 24 * time.Hour

// Parse parses an endpoint, which must be a URL with one of the schemes and a host. It
// refuses user information, which would be sent as credentials. The error is a
// *transport.SendError that cannot be retried.
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

// Malformed returns an error that cannot be retried.
func Malformed(endpoint string, err error) *transport.SendError {
	return &transport.SendError{Endpoint: endpoint, Err: err}
}

// Network returns an error for a failed request. It can be retried, unless the address
// is refused.
func Network(endpoint string, err error) *transport.SendError {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the endpoint, which SendError has already
	}
	return &transport.SendError{Endpoint: endpoint, Retryable: !errors.Is(err, netguard.ErrRefused), Err: err}
}

// NotAccepted returns the error of a Send whose reply the bound Handler did not accept,
// but returned err. It returns nil if err is nil, or if the Handler would not accept the
// same reply later either.
func NotAccepted(endpoint string, err error) error {
	var reject *transport.RejectError
	var panicked *transport.PanicError
	if err == nil || errors.As(err, &reject) || errors.As(err, &panicked) {
		return nil
	}
	e := &transport.SendError{Endpoint: endpoint, Retryable: true, Taken: true, Err: fmt.Errorf("reply not accepted: %w", err)}
	var busy *transport.BusyError
	if errors.As(err, &busy) {
		e.RetryAfter = busy.RetryAfter
	}
	return e
}

// Status returns the error for a response without success. Status 408, 425, 429 and 5xx
// can be retried. A line of plain text in the body, in which many agents give the
// reason, becomes part of the error.
func Status(endpoint string, resp *http.Response, now time.Time) *transport.SendError {
	e := &transport.SendError{Endpoint: endpoint, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now)}
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

// reason returns at most 200 bytes of the first line of a text/plain body.
func reason(resp *http.Response) string {
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if t != "text/plain" || resp.Body == nil {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(strings.ToValidUTF8(line, ""))
}

// retryAfter parses both forms of a Retry-After header (RFC 9110, section 10.2.3). It
// returns 0 if the header is absent or malformed.
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

// MediaType returns the media type for sending p, without parameters, because some peers
// compare the exact string. A packet without a media type is one that is forwarded, and
// those are encrypted. It returns an error for an empty packet, and an error that matches
// transport.ErrMediaType for a media type other than DIDComm's.
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
