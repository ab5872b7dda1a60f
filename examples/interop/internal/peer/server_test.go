package peer_test

import (
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// serving makes this test binary a program that serves, or does not: TestMain
// looks for it.
const serving = "PEER_TEST_SERVER"

// beServer is what the program does.
func beServer(how string) {
	switch how {
	case "ready":
		os.Stderr.WriteString("warming up\nnow listening on 1\n" + strings.Repeat("chatter\n", 100_000))
	case "dies":
		os.Stdout.WriteString("no socket\n")
		os.Exit(3)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func serve(t *testing.T, how string, timeout time.Duration) (*peer.Server, error) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return peer.Serve(ctx, peer.ServerConfig{
		Path:  path,
		Env:   append(os.Environ(), serving+"="+how),
		Ready: regexp.MustCompile("listening"),
	})
}

func TestServe(t *testing.T) {
	s, err := serve(t, "ready", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	if !strings.Contains(s.Output(), "chatter") {
		t.Errorf("output ends with %q", s.Output())
	}
}

func TestServeFailures(t *testing.T) {
	for _, tt := range []struct {
		how     string
		timeout time.Duration
		want    []string
	}{
		{"dies", time.Minute, []string{"exit status 3", "no socket"}},
		{"hangs", 200 * time.Millisecond, []string{"not ready", "deadline"}},
	} {
		t.Run(tt.how, func(t *testing.T) {
			s, err := serve(t, tt.how, tt.timeout)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, peer.ErrFailed) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q: %v", want, err)
				}
			}
		})
	}
	if _, err := peer.Serve(t.Context(), peer.ServerConfig{Path: "no-such-program"}); !errors.Is(err, peer.ErrFailed) {
		t.Errorf("no program: %v", err)
	}
}
