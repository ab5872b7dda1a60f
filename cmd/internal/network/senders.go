package network

import (
	"context"
	"log/slog"
	"net/url"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// Senders holds a client for each transport. Use [Reach.Senders] to make them, and
// [Senders.Close] to close them.
type Senders struct {
	http *httptransport.Client
	ws   *wstransport.Client
}

// Senders returns clients that receive messages of at most maxBytes bytes.
func (r Reach) Senders(maxBytes int64, logger *slog.Logger) (*Senders, error) {
	dial := Dial(r.guard().DialContext)
	h, err := httptransport.NewClient(httptransport.ClientConfig{
		Dial: dial, MaxBytes: maxBytes, Budget: r.Budget, MaxIdle: min(r.MaxConns, httptransport.DefaultMaxIdle), Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	if r.Meter != nil {
		dial = r.Meter(dial)
	}
	w, err := wstransport.NewClient(wstransport.ClientConfig{
		Dial: dial, Limits: wstransport.Limits{MaxBytes: maxBytes}, Budget: r.Budget, MaxConns: min(r.MaxConns, wstransport.DefaultMaxClientConns), Logger: logger,
	})
	if err != nil {
		h.Close()
		return nil, err
	}
	return &Senders{h, w}, nil
}

// ByScheme returns the senders by URI scheme: http, https, ws and wss. If webSocket is
// true, messages for http and https endpoints are also sent over WebSocket, at the same
// URL.
func (s *Senders) ByScheme(webSocket bool) map[string]transport.Sender {
	m := map[string]transport.Sender{"http": s.http, "https": s.http, "ws": s.ws, "wss": s.ws}
	if webSocket {
		u := &upgrade{s.ws}
		m["http"], m["https"] = u, u
	}
	return m
}

// Close closes all connections, and waits until the received messages are handled, but not
// longer than wstransport.DefaultCloseTimeout.
func (s *Senders) Close() {
	// There is nothing to do about an error when the program ends.
	_ = s.http.Close()
	_ = s.ws.Close()
}

// upgrade sends messages for http endpoints over WebSocket.
type upgrade struct{ *wstransport.Client }

var _ transport.SessionSender = (*upgrade)(nil)

func (u *upgrade) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	_, err := u.SendOn(ctx, endpoint, p)
	return err
}

func (u *upgrade) SendOn(ctx context.Context, endpoint string, p transport.Packet) (transport.Session, error) {
	to, err := url.Parse(endpoint)
	if err != nil {
		return nil, &transport.SendError{Endpoint: endpoint, Err: err}
	}
	to.Scheme = map[string]string{"http": "ws", "https": "wss"}[to.Scheme]
	return u.Client.SendOn(ctx, to.String(), p)
}
