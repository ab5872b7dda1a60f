package logs_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/logs"
)

// plain returns a Handler that writes records without a time.
func plain(out *bytes.Buffer) slog.Handler {
	return slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
}

func TestSlog(t *testing.T) {
	var out bytes.Buffer
	h := logs.New(slog.NewJSONHandler(&out, nil), logs.Config{})
	defer h.Close()
	err := slogtest.TestHandler(h, func() (list []map[string]any) {
		for line := range bytes.Lines(out.Bytes()) {
			var m map[string]any
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		return list
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := logs.New(plain(&out), logs.Config{Burst: 2})
		log := slog.New(h).With("a", 1).WithGroup("g")
		flood := func() {
			for i := range 10 {
				log.Info("packet rejected", "i", i)
			}
		}
		flood()
		log.Warn("other")
		log.Debug("detail")
		log.Debug("detail")
		log.Debug("detail")
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		flood()
		h.Close()
		h.Close()
		log.Info("after Close")
		want := `level=INFO msg="packet rejected" a=1 g.i=0
level=INFO msg="packet rejected" a=1 g.i=1
level=WARN msg=other a=1
level=DEBUG msg=detail a=1
level=DEBUG msg=detail a=1
level=DEBUG msg=detail a=1
level=INFO msg="packet rejected" more=8 within=1m0s
level=INFO msg="packet rejected" a=1 g.i=0
level=INFO msg="packet rejected" a=1 g.i=1
level=INFO msg="packet rejected" more=8 within=1m0s
level=INFO msg="after Close" a=1
`
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out.String(), want)
		}
	})
}

// A flood of kinds is as short as one of records.
func TestManyKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := logs.New(plain(&out), logs.Config{Burst: 1})
		log := slog.New(h)
		for i := range 5000 {
			log.Info(fmt.Sprintf("kind %d", i))
		}
		h.Close()
		if n := strings.Count(out.String(), "\n"); n != 1000+1+1 || !strings.Contains(out.String(), `msg="records of other kinds" more=3999`) {
			t.Errorf("%d lines, of which the last is %s", n, out.String()[max(0, out.Len()-100):])
		}
	})
}

type panics struct{}

func (*panics) Error() string { panic("no text") }

func TestCut(t *testing.T) {
	long := "did:peer:2.Ez6LSbysY2xFMRpGMhb7tFTLMpeuPRaraM1yECx2AtzE3KCc" + strings.Repeat("x", 3000) + "theend00"
	short := long[:60] + "…theend00"
	for _, tt := range []struct {
		name string
		args []any
		want string
	}{
		{"a DID", []any{"from", long}, "from=" + short},
		{"a key in an error", []any{"error", fmt.Errorf("no key %s#key-1, nor %s", long, long)}, `error="no key ` + short + "#key-1, nor " + short + `"`},
		{"a group", []any{slog.Group("g", "from", long)}, "g.from=" + short},
		{"a short DID", []any{"from", "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"}, "from=did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"},
		{"another long text", []any{"error", errors.New(strings.Repeat("é", 1000))}, `error="` + strings.Repeat("é", 512) + `… (2000 bytes)"`},
		{"a list", []any{"to", []string{long, "did:key:z6Mk"}}, `to="[` + short + ` did:key:z6Mk]"`},
		{"not a text", []any{"n", 5}, "n=5"},
		{"an error that panics", []any{"error", (*panics)(nil)}, `error="!PANIC: no text"`},
	} {
		for _, with := range []bool{false, true} {
			var out bytes.Buffer
			h := logs.New(plain(&out), logs.Config{})
			if log := slog.New(h); with {
				log.With(tt.args...).Info("m")
			} else {
				log.Info("m", tt.args...)
			}
			h.Close()
			if want := "level=INFO msg=m " + tt.want + "\n"; out.String() != want {
				t.Errorf("%s: got %s, want %s", tt.name, out.String(), want)
			}
		}
	}
}
