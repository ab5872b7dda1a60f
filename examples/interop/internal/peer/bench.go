package peer

import (
	"context"
	stdjson "encoding/json"
)

// BenchParams are the params of "bench": to pack, or to open Envelope where it is
// given, Times over on one thread, with keys, documents and message parsed once.
// What the envelope is stands in the other params, as for packing it; Secrets are
// the opener's.
type BenchParams struct {
	PackParams
	Envelope stdjson.RawMessage `json:"envelope,omitzero"`
	Times    int                `json:"times"`
}

// BenchResult is the result of "bench": what the peer's process took of the
// processors for all operations.
type BenchResult struct {
	Nanoseconds int64 `json:"nanoseconds"`
}

// Bench asks the peer to pack or open many times over.
func (p *Process) Bench(ctx context.Context, params BenchParams) (BenchResult, error) {
	var r BenchResult
	err := p.Call(ctx, "bench", params, &r)
	return r, err
}
