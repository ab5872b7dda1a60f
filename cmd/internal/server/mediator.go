package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/devices"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/protocols/routing"
	"github.com/didcomm-go/didcomm/protocols/senders"
)

// MediatorConfig has the settings of a mediator. Without On, the others must be zero.
type MediatorConfig struct {
	On bool
	// EnrollList is a file with the DIDs that may enroll, one a line. It is read for each DID
	// that asks. Without it, and without EnrollInvited, everybody may enroll.
	EnrollList string
	// EnrollInvited lets those enroll who bring the token of an invitation.
	EnrollInvited bool
	// NextHops are DIDs besides those of accounts to which forwards are handed on.
	NextHops []string
	// MaxAge is how long mail waits for its recipient. This and the fields below are those of
	// mediator.Limits.
	MaxAge                                    time.Duration
	MaxAccounts                               int
	MaxMessages                               int   // that wait for all accounts
	MaxBytes                                  int64 // of these
	BoxMessages, PairMessages, SenderMessages int
	BoxBytes, PairBytes, SenderBytes          int64
	// Rates of forwards per minute, and of enrolments per hour. 0 is no limit.
	ForwardsOfAddress, ForwardsOfSender int
	Enrolments, EnrolmentsOfAddress     int
}

// EnrollGoalCode and EnrollGoal are the goal of an invitation to enroll with a mediator. The
// code is that of the mediators of Identus.
const (
	EnrollGoalCode = "request-mediate"
	EnrollGoal     = "To enroll with a mediator"
)

func (c MediatorConfig) check() error {
	for _, id := range c.NextHops {
		if _, err := did.Parse(id); err != nil {
			return fmt.Errorf("--next-hop: %w", err)
		}
	}
	for _, limit := range []struct {
		flag  string
		value int64
	}{
		{"--mail-age", int64(c.MaxAge)},
		{"--max-accounts", int64(c.MaxAccounts)},
		{"--max-mail", int64(c.MaxMessages)},
		{"--max-mail-bytes", c.MaxBytes},
		{"--mailbox-messages", int64(c.BoxMessages)},
		{"--mailbox-bytes", c.BoxBytes},
		{"--pair-messages", int64(c.PairMessages)},
		{"--pair-bytes", c.PairBytes},
		{"--sender-messages", int64(c.SenderMessages)},
		{"--sender-bytes", c.SenderBytes},
	} {
		if c.On && limit.value <= 0 {
			return fmt.Errorf("%s: want more than 0", limit.flag)
		}
	}
	for _, rate := range []struct {
		flag  string
		value int
	}{
		{"--forwards-per-address", c.ForwardsOfAddress},
		{"--forwards-per-sender", c.ForwardsOfSender},
		{"--enrolments-per-hour", c.Enrolments},
		{"--enrolments-per-address", c.EnrolmentsOfAddress},
	} {
		if rate.value < 0 {
			return fmt.Errorf("%s %d: want 0 or more", rate.flag, rate.value)
		}
	}
	return nil
}

// mailbox returns the limits of the mailboxes.
func (c MediatorConfig) mailbox() store.MailboxConfig {
	return store.MailboxConfig{MaxItems: c.MaxMessages, MaxBytes: c.MaxBytes, MaxBoxItems: c.BoxMessages, MaxBoxBytes: c.BoxBytes}
}

// openMediator makes the mediator of the Config, if there is one.
func (s *Server) openMediator() (err error) {
	c := s.cfg.Mediator
	if !c.On {
		return nil
	}
	cfg := mediator.Config{
		DID: s.did, Store: s.home.Store, Mailbox: s.home.Store.Mailbox(),
		Ours: func(ctx context.Context, id string) bool {
			_, err := s.home.Set.Own(ctx, id)
			return !errors.Is(err, envelope.ErrNoKey)
		},
		Documents: s.resolver,
		Next:      c.NextHops,
		Limits: mediator.Limits{
			MaxAccounts: c.MaxAccounts, MaxAge: c.MaxAge,
			Box:    store.Share{Items: c.BoxMessages, Bytes: c.BoxBytes},
			Pair:   store.Share{Items: c.PairMessages, Bytes: c.PairBytes},
			Sender: store.Share{Items: c.SenderMessages, Bytes: c.SenderBytes},

			AddressPerMinute: noneIfZero(c.ForwardsOfAddress), SenderPerMinute: noneIfZero(c.ForwardsOfSender),
			EnrolmentsPerHour: noneIfZero(c.Enrolments), EnrolmentsOfAddressPerHour: noneIfZero(c.EnrolmentsOfAddress),
		},
		Trace:  &mediator.Trace{Figures: logFigures(s.cfg.Logger)},
		Logger: s.cfg.Logger,
	}
	cfg.Admission.Tokens = c.EnrollInvited
	if c.EnrollList != "" {
		if err := c.admit(context.Background(), s.did, ""); err != nil && !errors.Is(err, mediator.ErrDenied) {
			return fmt.Errorf("--enroll-list: %w", err) // now, and not when the first agent asks
		}
		cfg.Admission.Token = c.admit
	}
	s.mediator, err = mediator.New(cfg)
	return err
}

// mediating returns the protocols of a mediator.
func (s *Server) mediating() []agent.MuxOption {
	if s.mediator == nil {
		return nil
	}
	return []agent.MuxOption{
		mediation.Serve(s.mediator, s.cfg.Logger),
		routing.Serve(s.mediator, routing.Endpoints(s.endpoint.String(), "http://"+s.listener.Addr().String())),
		routing.IdentusCodes(),
		pickup.Serve(s.mediator),
		devices.Serve(s.mediator, s.cfg.Logger),
		senders.Serve(s.mediator, s.cfg.Logger),
	}
}

// admit returns nil if a DID may enroll.
func (c MediatorConfig) admit(_ context.Context, id, _ string) error {
	data, err := os.ReadFile(c.EnrollList)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line != "" && line[0] != '#' && mediator.Name(line) == mediator.Name(id) {
			return nil
		}
	}
	return mediator.ErrDenied
}

// figuresEvery is how often the figures of a mediator are logged.
const figuresEvery = time.Hour

// logFigures returns a function that logs the figures of a mediator.
func logFigures(logger *slog.Logger) func(context.Context, mediator.Stats) {
	var logged time.Time
	return func(ctx context.Context, f mediator.Stats) {
		level := slog.LevelDebug
		if now := time.Now(); now.Sub(logged) >= figuresEvery {
			level, logged = slog.LevelInfo, now
		}
		var oldest time.Duration
		if !f.Oldest.IsZero() {
			oldest = time.Since(f.Oldest).Round(time.Second)
		}
		logger.Log(ctx, level, "mediator", "accounts", f.Accounts, "blocked", f.Blocked, "recipients", f.Recipients,
			"messages", f.Packets, "bytes", f.Bytes, "delivered", f.Delivered, "oldest", oldest)
	}
}
