package server

import (
	"cmp"
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/discover"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/report"
	"github.com/didcomm-go/didcomm/protocols/senders"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// mux returns the Handler of a Server, with all of its protocols.
func (s *Server) mux() *agent.Mux {
	var mu sync.Mutex // one OnMessage at a time
	options := []agent.MuxOption{
		trustping.Handle(),
		basicmessage.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, body basicmessage.Body) error {
			mu.Lock()
			defer mu.Unlock()
			to := in.To
			if to == s.did {
				to = ""
			}
			s.cfg.OnMessage(in.From, to, body.Content)
			return nil
		}),
		report.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, p *message.Problem) error {
			thread := cmp.Or(in.Message.ParentThreadID, in.Message.ThreadID)
			s.cfg.Logger.Warn("a peer reports a problem", "from", in.From, "thread", thread, "code", p.Code, "text", p.Text())
			if s.collector != nil {
				s.collector.Reported(in, p)
			}
			return nil
		}),
		discover.Handle(),
		empty.Handle(),
		senders.Handle(),
	}
	if s.collector != nil {
		options = append(options, s.collector.Handle())
	}
	options = append(options, s.mediating()...)
	return agent.NewMux(append(options, s.inviting()...)...)
}
