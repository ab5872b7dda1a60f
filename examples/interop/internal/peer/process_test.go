package peer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// fake makes the test's own executable a peer's program, with the behaviour that
// the operation asks for.
const fake = "DIDCOMM_INTEROP_FAKE_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(fake) != "" {
		behave()
		return
	}
	if how := os.Getenv(serving); how != "" {
		beServer(how)
	}
	os.Exit(m.Run())
}

func behave() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var request struct {
			ID     int    `json:"id"`
			Op     string `json:"op"`
			Params string `json:"params"`
		}
		if err := json.Unmarshal(line, &request); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		switch request.Op {
		case "echo":
			fmt.Printf(`{"id":%d,"result":%q}`+"\n", request.ID, request.Params)
		case "die":
			fmt.Fprintln(os.Stderr, strings.Repeat("noise ", 10_000)+"last words")
			os.Exit(3)
		case "hang":
			time.Sleep(time.Hour)
		case "deaf":
			// Says all is well but reads no more, so that a long request
			// blocks.
			fmt.Printf(`{"id":%d,"result":""}`+"\n", request.ID)
			time.Sleep(time.Hour)
		case "rubbish":
			fmt.Println("Traceback: this is no JSON")
		case "other":
			fmt.Printf(`{"id":%d,"result":""}`+"\n", request.ID-1)
		case "long":
			fmt.Printf(`{"id":%d,"result":%q}`+"\n", request.ID, strings.Repeat("x", 1<<20))
		case "odd":
			fmt.Printf(`{"id":%d,"result":{}}`+"\n", request.ID)
		case "refuse":
			fmt.Printf(`{"id":%d,"error":{"type":"ValueError","message":"no"}}`+"\n", request.ID)
		case "lacks":
			fmt.Printf(`{"id":%d,"error":{"type":"lacks","message":"XC20P"}}`+"\n", request.ID)
		}
	}
}

func start(t *testing.T, cfg peer.Config) *peer.Process {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Path = path
	cfg.Env = append(os.Environ(), fake+"=1")
	p := peer.New(cfg)
	t.Cleanup(p.Close)
	return p
}

func echo(t *testing.T, p *peer.Process, text string) {
	t.Helper()
	var got string
	if err := p.Call(t.Context(), "echo", text, &got); err != nil || got != text {
		t.Errorf("echo: %.50q, %v", got, err)
	}
}

// A program that breaks down costs its call; the next one finds it alive.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		op   string
		want []string // parts of the error
		not  string   // no part of it
	}{
		{"die", []string{"last words", "exit status 3"}, strings.Repeat("noise ", 1000)},
		{"hang", []string{"deadline"}, "\x00"},
		{"rubbish", []string{"this is no JSON"}, "\x00"},
		{"other", []string{"answer 1 to request 2"}, "\x00"},
		{"long", []string{"more than 65536 bytes"}, "\x00"},
		{"odd", []string{"result"}, "\x00"},
	} {
		t.Run(tt.op, func(t *testing.T) {
			p := start(t, peer.Config{MaxBytes: 1 << 16})
			echo(t, p, "before")
			ctx := t.Context()
			if tt.op == "hang" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			var result string
			err := p.Call(ctx, tt.op, nil, &result)
			if !errors.Is(err, peer.ErrFailed) {
				t.Fatalf("error is %v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), tt.not) {
				t.Errorf("error has %.50q: %d bytes", tt.not, len(err.Error()))
			}
			echo(t, p, "after")
		})
	}
}

// A request that the program does not read is given up too.
func TestBlockedWrite(t *testing.T) {
	p := start(t, peer.Config{})
	var result string
	if err := p.Call(t.Context(), "deaf", nil, &result); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Call(ctx, "echo", strings.Repeat("x", 4<<20), &result); !errors.Is(err, peer.ErrFailed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	echo(t, p, strings.Repeat("x", 4<<20))
}

func TestRefusals(t *testing.T) {
	p := start(t, peer.Config{Starts: 1})
	var result string
	err := p.Call(t.Context(), "refuse", nil, &result)
	var refused *peer.RefusedError
	if !errors.As(err, &refused) || refused.Type != "ValueError" || refused.Message != "no" || errors.Is(err, peer.ErrLacks) || errors.Is(err, peer.ErrFailed) {
		t.Errorf("refuse: %v", err)
	}
	if err := p.Call(t.Context(), "lacks", nil, &result); !errors.Is(err, peer.ErrLacks) {
		t.Errorf("lacks: %v", err)
	}
	echo(t, p, "the one start was enough")
}

func TestStartsAreBounded(t *testing.T) {
	p := start(t, peer.Config{Starts: 2})
	var result string
	for range 2 {
		if err := p.Call(t.Context(), "die", nil, &result); !errors.Is(err, peer.ErrFailed) {
			t.Fatal(err)
		}
	}
	if err := p.Call(t.Context(), "echo", "", &result); !errors.Is(err, peer.ErrFailed) || !strings.Contains(err.Error(), "given up") {
		t.Errorf("third start: %v", err)
	}
}

func TestClose(t *testing.T) {
	p := start(t, peer.Config{})
	echo(t, p, "x")
	p.Close()
	p.Close()
	var result string
	if err := p.Call(t.Context(), "echo", "", &result); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestMissingProgram(t *testing.T) {
	p := peer.New(peer.Config{Path: "no-such-program"})
	defer p.Close()
	var result string
	if err := p.Call(t.Context(), "echo", "", &result); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("error is %v", err)
	}
}

func TestNoPython(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	requirements := t.TempDir() + "/requirements.txt"
	if err := os.WriteFile(requirements, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Python(t.Context(), peer.PythonConfig{Requirements: requirements, Cache: t.TempDir(), Oldest: 9, Newest: 11}); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("error is %v", err)
	}
}

func TestNoCargo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := peer.Cargo(t.Context(), peer.CargoConfig{Folder: t.TempDir(), Cache: t.TempDir()}); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("error is %v", err)
	}
}
