package main

import (
	"context"
	"expvar"

	"github.com/didcomm-go/didcomm/agent"
)

// count returns a Trace that counts messages. Publish the counts with expvar.Publish, or count
// with the metrics library that you use.
func count(m *expvar.Map) *agent.Trace {
	outcome := func(name string) func(context.Context, agent.Outcome) {
		return func(context.Context, agent.Outcome) { m.Add(name, 1) }
	}
	return &agent.Trace{
		Handled: func(_ context.Context, e agent.Event) {
			if e.Err != nil {
				m.Add("failed", 1)
				return
			}
			m.Add("handled", 1)
		},
		Sent:   outcome("sent"),
		Queued: outcome("retried"),
		Buried: outcome("undelivered"), // an alert in production
	}
}
