package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxPassphrase bounds a passphrase, in bytes.
const maxPassphrase = 4 << 10

// passphrase takes the passphrase of the agent's keys from a file, from the
// environment, or from the terminal. A flag cannot hold the passphrase itself, and
// neither can the configuration file, because others could read them.
type passphrase struct{ file string }

func (p *passphrase) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "passphrase-file", "", "file with the passphrase of the keys (default: DIDCOMM_PASSPHRASE, else the command asks for it at a terminal)")
}

// open sets the functions of cfg that get the passphrase and print notices.
func (p *passphrase) open(a *app, cfg *home.Config) {
	cfg.Passphrase = func(ctx context.Context, need bool) ([]byte, error) {
		secret, err := a.given(p.file, "DIDCOMM_PASSPHRASE")
		if secret != nil || err != nil || !need {
			return secret, err
		}
		return a.ask(ctx, "Passphrase of the agent's keys: ")
	}
	cfg.Notice = func(s string) { fmt.Fprintln(a.Stderr, printable(s)) }
}

// given returns the passphrase in file, or that in the environment variable if file is
// empty. Without a passphrase, given returns nil.
func (a *app) given(file, variable string) ([]byte, error) {
	if file == "" {
		if v, ok := a.LookupEnv(variable); ok && v != "" {
			return []byte(v), nil
		}
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		fmt.Fprintf(a.Stderr, "Others on this machine can get at the passphrase in %s; mend it with chmod 600.\n", printable(file))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPassphrase+3))
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")) // editors add a line end
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("passphrase: %s is empty", file)
	case len(data) > maxPassphrase:
		return nil, fmt.Errorf("passphrase: %s has more than %d bytes", file, maxPassphrase)
	}
	return data, nil
}

// ask asks for a passphrase at the terminal, without echo. If standard input is no
// terminal, ask returns nil.
func (a *app) ask(ctx context.Context, prompt string) ([]byte, error) {
	f, ok := a.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, nil
	}
	fd := int(f.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprint(a.Stderr, prompt)
	defer fmt.Fprintln(a.Stderr)
	type answer struct {
		secret []byte
		err    error
	}
	typed := make(chan answer, 1)
	go func() {
		secret, err := term.ReadPassword(fd)
		typed <- answer{secret, err}
	}()
	select {
	case <-ctx.Done(): // the terminal must show again what is typed
		return nil, errors.Join(errors.New("interrupted"), term.Restore(fd, state))
	case t := <-typed:
		if t.err != nil {
			return nil, fmt.Errorf("passphrase: %w", t.err)
		}
		if len(t.secret) == 0 {
			return nil, errors.New("the passphrase is empty")
		}
		return t.secret, nil
	}
}

// askNew asks for a new passphrase, twice.
func (a *app) askNew(ctx context.Context) ([]byte, error) {
	secret, err := a.ask(ctx, "New passphrase: ")
	if err != nil || secret == nil {
		return nil, err
	}
	again, err := a.ask(ctx, "Once more: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(secret, again) {
		return nil, errors.New("these are two different passphrases; nothing was changed")
	}
	return secret, nil
}
