package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Defaults of Config.
const (
	DefaultTimeout  = 30 * time.Second
	DefaultStarts   = 5
	DefaultMaxBytes = 64 << 20
)

// stderrTail is how much of a program's standard error is kept, in bytes.
const stderrTail = 4 << 10

// Errors of Process.Call; match them with errors.Is.
var (
	// ErrLacks: the peer's library does not have the operation or the combination.
	ErrLacks = errors.New("the peer lacks it")
	// ErrFailed: the program ended, hung, or printed an invalid answer. The text of the
	// error ends with the last output of the program on standard error.
	ErrFailed = errors.New("the peer's program failed")
)

// RefusedError is an error of the peer's library.
type RefusedError struct {
	Type    string `json:"type"` // the name of the peer's exception or error type
	Message string `json:"message"`
}

// Error returns the error text of the peer.
func (e *RefusedError) Error() string { return "the peer refused: " + e.Type + ": " + e.Message }

// Is matches ErrLacks.
func (e *RefusedError) Is(target error) bool { return target == ErrLacks && e.Type == "lacks" }

// Config describes a peer's program.
type Config struct {
	Path string   // the executable
	Args []string // its arguments
	Env  []string // its environment, that of this process if nil

	Timeout  time.Duration // of one call; 0 is DefaultTimeout
	Starts   int           // how often the program is started, after failures; 0 is DefaultStarts
	MaxBytes int           // length of an answer; 0 is DefaultMaxBytes
}

// Process is a peer's program. The first call starts the program, and the next call after a
// failure starts it again. The program answers one call at a time. Close ends it.
type Process struct {
	cfg Config

	mu     sync.Mutex
	run    *run // nil when not running
	starts int
	calls  int
	closed bool
}

// New describes a process without starting it.
func New(cfg Config) *Process {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Starts == 0 {
		cfg.Starts = DefaultStarts
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	return &Process{cfg: cfg}
}

// Call asks the program for an operation and decodes the answer's result into
// result. The error is a *RefusedError if the peer's library has returned an error. It
// matches ErrFailed if the program has failed; the next call then starts the program again.
func (p *Process) Call(ctx context.Context, op string, params, result any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("%w: closed", ErrFailed)
	}
	p.calls++
	request, err := encode(p.calls, op, params)
	if err != nil {
		return err
	}
	if p.run == nil {
		if p.starts == p.cfg.Starts {
			return fmt.Errorf("%w: given up after %d starts", ErrFailed, p.starts)
		}
		p.starts++
		if p.run, err = start(p.cfg); err != nil {
			return fmt.Errorf("%w: %w", ErrFailed, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	answer, err := p.run.exchange(ctx, request, p.cfg.MaxBytes)
	if err == nil && answer.ID != p.calls {
		err = fmt.Errorf("answer %d to request %d", answer.ID, p.calls)
	}
	if err != nil {
		tail := p.run.stop(time.Second)
		p.run = nil
		return fmt.Errorf("%w: %s: %w; standard error: %s", ErrFailed, op, err, tail)
	}
	if answer.Error != nil {
		return answer.Error
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("%w: %s: result: %w", ErrFailed, op, err)
	}
	return nil
}

// Close ends the program and waits for its end. It may be called twice.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.run != nil {
		p.run.stop(5 * time.Second)
		p.run = nil
	}
}

// encode writes a request on one line.
func encode(id int, op string, params any) ([]byte, error) {
	line, err := json.Marshal(struct {
		ID     int    `json:"id"`
		Op     string `json:"op"`
		Params any    `json:"params,omitzero"`
	}{id, op, params})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", op, err)
	}
	return append(line, '\n'), nil
}

type answer struct {
	ID     int            `json:"id"`
	Result jsontext.Value `json:"result"`
	Error  *RefusedError  `json:"error"`
}

// run is one execution of the program.
type run struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	lines  *bufio.Reader
	stderr *tail
}

func start(cfg Config) (*run, error) {
	cmd := exec.Command(cfg.Path, cfg.Args...)
	cmd.Env = cfg.Env
	// A child of the program's that keeps its standard error open must not
	// keep us.
	cmd.WaitDelay = time.Second
	r := &run{cmd: cmd, stderr: &tail{}}
	cmd.Stderr = r.stderr
	var err error
	if r.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if r.stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	r.lines = bufio.NewReader(r.stdout)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return r, nil
}

// exchange writes a request and reads the answer. When ctx ends it kills the
// program, which ends the write or read that hangs.
func (r *run) exchange(ctx context.Context, request []byte, maxBytes int) (answer, error) {
	release := context.AfterFunc(ctx, r.kill)
	defer release()
	var a answer
	if _, err := r.stdin.Write(request); err != nil {
		return a, r.cause(ctx, "write", err)
	}
	line, err := r.readLine(maxBytes)
	if err != nil {
		return a, r.cause(ctx, "read", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("no answer but %.200q: %w", line, err)
	}
	return a, nil
}

func (r *run) readLine(maxBytes int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxBytes:
			return nil, fmt.Errorf("a line of more than %d bytes", maxBytes)
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// cause distinguishes a program that hangs from a program that ended.
func (r *run) cause(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w", step, err)
}

// kill ends the program at once. Closing our end of its output ends a read even
// if a child of the program's still holds the other.
func (r *run) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.stdin.Close()
	_ = r.stdout.Close()
}

// stop waits for the end of the program, and kills it after grace. It returns the last output
// on standard error.
func (r *run) stop(grace time.Duration) string {
	_ = r.stdin.Close()
	timer := time.AfterFunc(grace, r.kill)
	// Wait closes our end of standard output, so that a program that writes on
	// gets an error.
	err := r.cmd.Wait()
	timer.Stop()
	text := strings.TrimSpace(r.stderr.String())
	if text == "" {
		text = "nothing"
	}
	if err != nil {
		text += " (" + err.Error() + ")"
	}
	return text
}

// tail keeps the last bytes that are written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - stderrTail; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, []byte("?")))
}
