// Package logs keeps the log of an agent short, whatever strangers send. Pass a [Handler] to
// everything that takes a *slog.Logger:
//
//	h := logs.New(slog.NewTextHandler(os.Stderr, nil), logs.Config{})
//	defer h.Close()
//	a, err := agent.New(agent.Config{Logger: slog.New(h), ...})
//
// A Handler does two things:
//   - It cuts long DIDs and other long values. A did:peer can have 8 KiB, and anybody can
//     choose a DID of that length.
//   - It passes on a small number of records of one kind in a minute, and then the number of
//     the others. The kind of a record is its level with its message, so a flood of one
//     kind hides no record of another kind. Records below slog.LevelInfo are all passed on.
package logs

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Config configures a [Handler]. A zero in a field means the default.
type Config struct {
	// Burst is how many records of one kind are passed on in a Window. The default is 20.
	Burst int
	// Window is the time after which records are counted anew. The default is 1 minute.
	Window time.Duration
	// MaxValue limits the text of a value, in bytes. The default is 1024. The limit is 16
	// times as much for records of slog.LevelError, which may have a stack.
	MaxValue int
}

// Handler is a slog.Handler in front of another. Use [New] to make a Handler.
type Handler struct {
	next   slog.Handler
	counts *counts
	cfg    Config
}

var _ slog.Handler = (*Handler)(nil)

// New returns a Handler that passes records on to next. Call [Handler.Close] at the end.
func New(next slog.Handler, cfg Config) *Handler {
	cfg.Burst = cmp.Or(max(cfg.Burst, 0), 20)
	cfg.Window = cmp.Or(max(cfg.Window, 0), time.Minute)
	cfg.MaxValue = cmp.Or(max(cfg.MaxValue, 0), 1024)
	return &Handler{next: next, cfg: cfg, counts: &counts{cfg: cfg, next: next, byKind: make(map[kind]*count)}}
}

// Close logs the numbers of records that were not passed on. Records after Close are all
// passed on. Close can be called more than once.
func (h *Handler) Close() { h.counts.close() }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements slog.Handler. Errors are those of the next Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && !h.counts.take(kind{r.Level, r.Message}) {
		return nil
	}
	most := h.cfg.MaxValue
	if r.Level >= slog.LevelError {
		most *= 16
	}
	short := slog.NewRecord(r.Time, r.Level, clip(r.Message, most), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		short.AddAttrs(cut(a, most))
		return true
	})
	return h.next.Handle(ctx, short)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs = slices.Clone(attrs)
	for i := range attrs {
		attrs[i] = cut(attrs[i], h.cfg.MaxValue)
	}
	return &Handler{next: h.next.WithAttrs(attrs), cfg: h.cfg, counts: h.counts}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(name), cfg: h.cfg, counts: h.counts}
}

// cut shortens the text of a value to at most so many bytes, and the DIDs in the text.
func cut(a slog.Attr, most int) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(clip(v.String(), most))
	case slog.KindGroup:
		group := slices.Clone(v.Group())
		for i := range group {
			group[i] = cut(group[i], most)
		}
		a.Value = slog.GroupValue(group...)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case error:
			a.Value = slog.StringValue(clip(text(x.Error), most))
		case fmt.Stringer:
			a.Value = slog.StringValue(clip(text(x.String), most))
		case []string: // such as the recipients of a message
			a.Value = slog.StringValue(clip(fmt.Sprint(x), most))
		}
	}
	return a
}

// text returns the text of a value, also if its method panics, as for a nil pointer.
func text(f func() string) (s string) {
	defer func() {
		if v := recover(); v != nil {
			s = fmt.Sprintf("!PANIC: %v", v)
		}
	}()
	return f()
}

func clip(s string, most int) string {
	s = ShortDIDs(s)
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:end], len(s))
}

// A DID of at most maxDID bytes is not cut. A longer DID is cut to its first headDID bytes,
// which are more than the short form of a did:peer:4, and to its last tailDID bytes.
const (
	maxDID  = 72
	headDID = 60
	tailDID = 8
)

// ShortDIDs cuts each DID in a text that has more than 72 bytes, so that people can still
// recognise the DID.
func ShortDIDs(s string) string {
	if len(s) <= maxDID || !strings.Contains(s, "did:") {
		return s
	}
	var b strings.Builder
	for {
		at := strings.Index(s, "did:")
		if at < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:at])
		s = s[at:]
		n := strings.IndexFunc(s, func(r rune) bool { return !inDID(r) })
		if n < 0 {
			n = len(s)
		}
		if n <= maxDID {
			b.WriteString(s[:n])
		} else {
			b.WriteString(s[:headDID] + "…" + s[n-tailDID:n])
		}
		s = s[n:]
	}
}

// inDID reports whether r can stand in a DID (W3C DID Core, section 3.1).
func inDID(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return true
	}
	return strings.ContainsRune(":.-_%=", r)
}

// maxKinds is how many kinds of records are counted. All further kinds are counted as one.
const maxKinds = 1000

// kind is what records have in common that are counted together.
type kind struct {
	level   slog.Level
	message string
}

// counts are the numbers of records of a Handler and of those that were made from it.
type counts struct {
	cfg  Config
	next slog.Handler // without the attributes of any record

	mu     sync.Mutex // guards all below
	byKind map[kind]*count
	closed bool
}

// count is the number of records of a kind in the current window.
type count struct {
	passed, held int
	end          *time.Timer // ends the window
}

// take reports whether a record is passed on, and counts the record.
func (c *counts) take(k kind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return true
	}
	n := c.byKind[k]
	if n == nil && len(c.byKind) >= maxKinds {
		k = kind{level: slog.LevelWarn, message: "records of other kinds"}
		n = c.byKind[k]
	}
	if n == nil {
		n = &count{end: time.AfterFunc(c.cfg.Window, func() { c.endWindow(k) })}
		c.byKind[k] = n
	}
	if n.passed < c.cfg.Burst {
		n.passed++
		return true
	}
	n.held++
	return false
}

// endWindow logs how many records of a kind were not passed on, and forgets the kind.
func (c *counts) endWindow(k kind) {
	c.mu.Lock()
	n := c.byKind[k]
	delete(c.byKind, k)
	c.mu.Unlock()
	if n != nil {
		c.sum(k, n)
	}
}

func (c *counts) sum(k kind, n *count) {
	if n.held == 0 {
		return
	}
	r := slog.NewRecord(time.Now(), k.level, clip(k.message, c.cfg.MaxValue), 0)
	r.AddAttrs(slog.Int("more", n.held), slog.Duration("within", c.cfg.Window))
	_ = c.next.Handle(context.Background(), r) // there is nowhere to report the error
}

func (c *counts) close() {
	c.mu.Lock()
	left := c.byKind
	c.byKind, c.closed = nil, true
	c.mu.Unlock()
	for k, n := range left {
		n.end.Stop()
		c.sum(k, n)
	}
}
