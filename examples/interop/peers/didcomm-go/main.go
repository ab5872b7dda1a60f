//go:build interop

// Command didcomm-go is this library behind the interop suite's JSON lines, so
// that it is timed as its peers are: a program of its own that answers "hello"
// and "bench".
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, peer.DefaultMaxBytes)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := answers.Encode(answer(lines.Bytes())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

type refusal struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

type reply struct {
	ID     int      `json:"id"`
	Result any      `json:"result,omitempty"`
	Error  *refusal `json:"error,omitempty"`
}

func answer(line []byte) reply {
	var request struct {
		ID     int              `json:"id"`
		Op     string           `json:"op"`
		Params peer.BenchParams `json:"params"`
	}
	if err := json.Unmarshal(line, &request); err != nil {
		return reply{Error: &refusal{"request", err.Error()}}
	}
	r := reply{ID: request.ID}
	var err error
	switch request.Op {
	case "hello":
		r.Result = peer.Hello{Name: "didcomm-go", Language: "Go " + strings.TrimPrefix(runtime.Version(), "go"), Versions: map[string]string{}}
	case "bench":
		r.Result, err = bench(context.Background(), request.Params)
	default:
		r.Error = &refusal{"lacks", "operation " + request.Op}
	}
	if err != nil {
		r.Result, r.Error = nil, &refusal{"error", err.Error()}
	}
	return r
}

// bench packs, or opens the envelope that is given, many times over, with all
// else read once.
func bench(ctx context.Context, params peer.BenchParams) (peer.BenchResult, error) {
	var result peer.BenchResult
	operation, err := operation(ctx, params)
	if err != nil {
		return result, err
	}
	began, err := processorTime()
	if err != nil {
		return result, err
	}
	for range params.Times {
		if err := operation(); err != nil {
			return result, err
		}
	}
	ended, err := processorTime()
	result.Nanoseconds = ended - began
	return result, err
}

func operation(ctx context.Context, params peer.BenchParams) (func() error, error) {
	packer, err := newPacker(params.Known)
	if err != nil {
		return nil, err
	}
	if params.Envelope != nil {
		return func() error {
			_, err := packer.Unpack(ctx, params.Envelope)
			return err
		}, nil
	}
	m, _, err := message.Parse(params.Message)
	if err != nil {
		return nil, err
	}
	options := packOptions(params.PackParams)
	return func() error {
		_, err := packer.Pack(ctx, m, options...)
		return err
	}, nil
}

func newPacker(known peer.Known) (*envelope.Packer, error) {
	secrets, err := json.Marshal(known.Secrets)
	if err != nil {
		return nil, err
	}
	keys := keyring.New()
	if len(known.Secrets) > 0 {
		if keys, err = keyring.ParseSecrets(secrets); err != nil {
			return nil, err
		}
	}
	docs := map[string]*did.Document{}
	for _, text := range known.Documents {
		doc, err := did.ParseDocument(text)
		if err != nil {
			return nil, err
		}
		docs[doc.ID] = doc
	}
	return envelope.New(envelope.Config{Keys: keys, Resolver: did.ResolverFunc(
		func(_ context.Context, id string) (*did.Document, error) {
			if doc, ok := docs[id]; ok {
				return doc, nil
			}
			return nil, did.ErrNotFound
		})})
}

func packOptions(params peer.PackParams) []envelope.PackOption {
	var o []envelope.PackOption
	if params.Enc != "" {
		o = append(o, envelope.ContentEncryption(params.Enc))
	}
	if params.From != "" {
		o = append(o, envelope.From(params.From))
	}
	if params.ProtectSender {
		o = append(o, envelope.ProtectSender())
	}
	if params.SignBy != "" {
		o = append(o, envelope.SignBy(params.SignBy))
	}
	switch {
	case params.To == "" && params.SignBy != "":
		o = append(o, envelope.Signed())
	case params.To == "":
		o = append(o, envelope.Plain())
	}
	return o
}

// processorTime is what this process has taken of the processors, the garbage
// collector's part included, in nanoseconds.
func processorTime() (int64, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano(), err
}
