package server

import (
	"context"
	"errors"
	"log/slog"
	"net/url"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// senders are the clients of all transports.
type senders struct {
	http *httptransport.Client
	ws   *wstransport.Client
}

func (n Network) senders(maxBytes int64, logger *slog.Logger) (*senders, error) {
	dial := n.guard().DialContext
	h, err := httptransport.NewClient(httptransport.ClientConfig{Dial: dial, MaxBytes: maxBytes, Logger: logger})
	if err != nil {
		return nil, err
	}
	w, err := wstransport.NewClient(wstransport.ClientConfig{Dial: dial, Limits: wstransport.Limits{MaxBytes: maxBytes}, Logger: logger})
	if err != nil {
		h.Close()
		return nil, err
	}
	return &senders{h, w}, nil
}

// byScheme are the senders by URI scheme. With webSocket, http endpoints are
// reached by WebSocket too: one URL serves both.
func (s *senders) byScheme(webSocket bool) map[string]transport.Sender {
	m := map[string]transport.Sender{"http": s.http, "https": s.http, "ws": s.ws, "wss": s.ws}
	if webSocket {
		u := &upgrade{s.ws}
		m["http"], m["https"] = u, u
	}
	return m
}

func (s *senders) close() {
	// Both only report what cannot be helped when the program ends.
	_ = s.http.Close()
	_ = s.ws.Close()
}

// upgrade sends to http endpoints by WebSocket.
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

// once makes every failure final: who waits at a prompt hears of it at once
// instead of after the last retry.
type once struct{ transport.Sender }

func (o once) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	err := o.Sender.Send(ctx, endpoint, p)
	if se := new(transport.SendError); errors.As(err, &se) {
		final := *se
		final.Retryable = false
		return &final
	}
	return err
}

// Bind binds the sender inside, if it can be.
func (o once) Bind(h transport.Handler) {
	if b, ok := o.Sender.(transport.Binder); ok {
		b.Bind(h)
	}
}

// newAgent makes an agent of an identity and of cfg, but for who it is.
func newAgent(id *Identity, n Network, maxBytes int64, cfg agent.Config) (*agent.Agent, error) {
	resolver, err := n.Resolver(id.docs())
	if err != nil {
		return nil, err
	}
	packer, err := envelope.New(envelope.Config{Keys: id.Keys, Resolver: resolver, MaxBytes: int(maxBytes)})
	if err != nil {
		return nil, err
	}
	cfg.DID, cfg.Packer, cfg.Resolver, cfg.StopTimeout = id.Document.ID, packer, resolver, handlerTimeout
	return agent.New(cfg)
}
