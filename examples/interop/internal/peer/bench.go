package peer

import (
	"context"
	stdjson "encoding/json"
)

// BenchParams are the params of "bench". The program packs a message Times times, or opens
// Envelope so often if it is set. It uses one thread, and parses keys, documents and message
// once. The other params describe the envelope as for "pack". To open, Secrets are the keys of
// the recipient.
type BenchParams struct {
	PackParams
	Envelope stdjson.RawMessage `json:"envelope,omitzero"`
	Times    int                `json:"times"`
}

// BenchResult is the result of "bench": the processor time of the process for all
// operations.
type BenchResult struct {
	Nanoseconds int64 `json:"nanoseconds"`
}

// Bench asks the peer to pack or to open many times.
func (p *Process) Bench(ctx context.Context, params BenchParams) (BenchResult, error) {
	var r BenchResult
	err := p.Call(ctx, "bench", params, &r)
	return r, err
}
