package mediator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Box is the box of a device. Each method but Wait and OnChange first looks up whether the device
// may still use its box: the errors of these methods are ErrNotEnrolled, ErrBlocked and those of the
// store. A Box may be used from several goroutines.
type Box struct {
	m       *Mediator
	name    string
	account atomic.Pointer[string] // as of the last look
	box     atomic.Pointer[string]
}

// Box returns the box of a device.
func (m *Mediator) Box(device string) *Box { return &Box{m: m, name: Name(device)} }

func (b *Box) member(ctx context.Context) (*Account, string, error) {
	a, d, err := b.m.member(ctx, b.name)
	if err != nil {
		return nil, "", err
	}
	if a.Unused {
		if err := b.m.use(ctx, a.ID); err != nil {
			return nil, "", err
		}
	}
	b.account.Store(&a.ID)
	b.box.Store(&d.Box)
	return a, d.Box, nil
}

// Status counts the mail of the box: all, or the mail for the recipients ids.
func (b *Box) Status(ctx context.Context, ids ...string) (store.MailboxStatus, error) {
	a, box, err := b.member(ctx)
	if err != nil {
		return store.MailboxStatus{}, err
	}
	if !a.Lost.IsZero() {
		b.m.moveMail(ctx, a.ID)
	}
	return b.m.cfg.Mailbox.Status(ctx, box, names(ids)...)
}

// Lease leases mail as store.Mailbox does. p.For has recipients in any form. Mail for a recipient
// that the account has lost is not among the mail.
func (b *Box) Lease(ctx context.Context, p store.Pick, d time.Duration) ([]store.Mail, error) {
	p.For = names(p.For)
	for {
		a, box, err := b.member(ctx)
		if err != nil {
			return nil, err
		}
		list, err := b.m.cfg.Mailbox.Lease(ctx, box, p, d)
		if err != nil || len(list) == 0 {
			return nil, err
		}
		if !a.Lost.IsZero() {
			moved, err := b.keep(ctx, a, &list)
			if err != nil {
				return nil, err
			}
			// Mail that could not move is leased now, so the next turn brings other mail.
			if len(list) == 0 && (moved || !p.Held) {
				continue
			}
		}
		b.trace(ctx, b.m.cfg.Trace.Delivered, a, list)
		return list, nil
	}
}

// keep removes the mail for recipients that the account has lost from a list, and moves this mail. It
// reports whether the mail has moved.
func (b *Box) keep(ctx context.Context, a *Account, list *[]store.Mail) (moved bool, err error) {
	lost := make(map[string]bool)
	for _, mail := range *list {
		if _, ok := lost[mail.For]; ok {
			continue
		}
		_, err := b.m.records().Get(ctx, moves, moveKey(mail.For, a.ID))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, fmt.Errorf("mediator: %w", err)
		}
		lost[mail.For] = err == nil
	}
	n := len(*list)
	*list = slices.DeleteFunc(*list, func(mail store.Mail) bool { return lost[mail.For] })
	return len(*list) < n && b.m.moveMail(ctx, a.ID), nil
}

// Ack removes mail from the box, and returns how many packets it has removed.
func (b *Box) Ack(ctx context.Context, ids ...string) (int, error) {
	a, box, err := b.member(ctx)
	if err != nil {
		return 0, err
	}
	if !a.Lost.IsZero() { // an ack must not remove the mail of others
		b.m.moveMail(ctx, a.ID)
	}
	n, err := b.m.cfg.Mailbox.Ack(ctx, box, ids...)
	if f := b.m.cfg.Trace.Collected; f != nil && n > 0 {
		f(ctx, Event{Account: a.ID, Device: b.name, Packets: n})
	}
	return n, err
}

// Nak ends the leases of mail, of all mail if there are no ids.
func (b *Box) Nak(ctx context.Context, ids ...string) error {
	_, box, err := b.member(ctx)
	if err != nil {
		return err
	}
	return b.m.cfg.Mailbox.Nak(ctx, box, ids...)
}

// Wait returns nil when there is mail to lease, which may be mail that Lease does not return. It
// returns ctx.Err() if ctx ends first. The device may use the box when Wait begins: otherwise the
// errors are those of the other methods.
func (b *Box) Wait(ctx context.Context) error {
	_, box, err := b.member(ctx)
	if err != nil {
		return err
	}
	return b.m.cfg.Mailbox.Wait(ctx, box)
}

func (b *Box) trace(ctx context.Context, f func(context.Context, Event), a *Account, list []store.Mail) {
	if f == nil || len(list) == 0 {
		return
	}
	e := Event{Account: a.ID, Device: b.name, Packets: len(list)}
	for _, mail := range list {
		e.Bytes += int64(len(mail.Packet.Data))
	}
	f(ctx, e)
}

// OnChange calls f whenever the rights of the device may have changed: ask Status again. f must not
// block, and must not call the function stop. After stop, no new call of f begins. Changes by other
// processes are noticed while Run runs.
func (b *Box) OnChange(f func()) (stop func()) {
	return b.m.watches.add(&b.account, f)
}

// watches are the functions to call when an account changes.
type watches struct {
	mu  sync.Mutex
	all map[*watch]struct{}
}

type watch struct {
	account *atomic.Pointer[string] // nil inside while nobody has asked for the account
	f       func()
}

func (w *watches) add(account *atomic.Pointer[string], f func()) (stop func()) {
	entry := &watch{account, f}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[*watch]struct{})
	}
	w.all[entry] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, entry)
	}
}

// changed calls those who watch one of the accounts, or who have not asked for their account yet.
func (w *watches) changed(accounts ...string) {
	changed := make(map[string]bool)
	for _, id := range accounts {
		changed[id] = true
	}
	w.each(func(entry *watch) bool {
		id := entry.account.Load()
		return id == nil || changed[*id]
	})
}

// each calls those who watch and are chosen.
func (w *watches) each(chosen func(*watch) bool) {
	var call []func()
	w.mu.Lock()
	for entry := range w.all {
		if chosen(entry) {
			call = append(call, entry.f)
		}
	}
	w.mu.Unlock()
	for _, f := range call {
		f()
	}
}
