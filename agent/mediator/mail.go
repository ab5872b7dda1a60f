package mediator

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Forward is a packet to put into the boxes of its recipient.
type Forward struct {
	Next   string // the recipient, in any form
	Packet store.Packet
	// Sender is the DID that has proven to send the forward, or empty.
	Sender string
	// Address is the address that the forward came from, or the zero Addr.
	Address netip.Addr
	// Capability is the capability of the recipient that the forward carries, or empty.
	Capability string
	Expires    time.Time // zero if the forward has no expiry
	Delay      time.Duration
}

// Accept stores mail for the recipient of a forward, in one durable write. Mail that is
// stored already is accepted again, and stored once. Errors are ErrNotEnrolled, ErrBlocked,
// ErrNotAllowed, a *LimitError and those of the store.
func (m *Mediator) Accept(ctx context.Context, f Forward) error {
	a, err := m.Owner(ctx, f.Next)
	if err != nil {
		return err
	}
	name, now := Name(f.Next), m.cfg.Now()
	mail := store.Mail{
		ID: MailID(name, f.Packet.Data), For: name, Sender: Name(f.Sender), Packet: f.Packet,
		Time: now, Expires: now.Add(m.cfg.Limits.MaxAge),
		BoxShare: m.cfg.Limits.Box, PairShare: m.cfg.Limits.Pair, SenderShare: m.cfg.Limits.Sender,
	}
	if !f.Expires.IsZero() && f.Expires.Before(mail.Expires) {
		mail.Expires = f.Expires
	}
	if f.Delay > 0 {
		mail.Due = now.Add(f.Delay)
	}
	var boxes []string
	for _, d := range a.Devices {
		boxes = append(boxes, d.Name)
	}
	err = m.cfg.Mailbox.Deposit(ctx, mail, boxes...)
	var full *store.LimitError
	switch {
	case errors.Is(err, store.ErrExists):
		return nil
	case errors.As(err, &full):
		return &LimitError{Limit: full.Limit}
	case err != nil:
		return fmt.Errorf("mediator: %w", err)
	}
	return nil
}

// MailID returns the id of mail: the same bytes for one recipient have one id.
func MailID(name string, data []byte) string {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{0})
	h.Write(data)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// Box is the box of a device. Each method first looks up whether the device may still use
// its box: the errors of all methods are ErrNotEnrolled, ErrBlocked and those of the store.
type Box struct {
	m    *Mediator
	name string
}

// Box returns the box of a device.
func (m *Mediator) Box(device string) *Box { return &Box{m, Name(device)} }

// Status counts the mail of the box: all, or the mail for the recipients ids.
func (b *Box) Status(ctx context.Context, ids ...string) (store.MailboxStatus, error) {
	if _, err := b.m.Account(ctx, b.name); err != nil {
		return store.MailboxStatus{}, err
	}
	return b.m.cfg.Mailbox.Status(ctx, b.name, names(ids)...)
}

// Lease leases mail as store.Mailbox does. p.For has recipients in any form.
func (b *Box) Lease(ctx context.Context, p store.Pick, d time.Duration) ([]store.Mail, error) {
	if _, err := b.m.Account(ctx, b.name); err != nil {
		return nil, err
	}
	p.For = names(p.For)
	return b.m.cfg.Mailbox.Lease(ctx, b.name, p, d)
}

// Ack removes mail from the box.
func (b *Box) Ack(ctx context.Context, ids ...string) (int, error) {
	if _, err := b.m.Account(ctx, b.name); err != nil {
		return 0, err
	}
	return b.m.cfg.Mailbox.Ack(ctx, b.name, ids...)
}

// Nak ends the leases of mail, of all mail if there are no ids.
func (b *Box) Nak(ctx context.Context, ids ...string) error {
	return b.m.cfg.Mailbox.Nak(ctx, b.name, ids...)
}

// Wait returns nil when there is mail to lease.
func (b *Box) Wait(ctx context.Context) error { return b.m.cfg.Mailbox.Wait(ctx, b.name) }

// Changed returns a channel that is closed when the rights of the device may have changed:
// ask Account again. The caller must call stop.
func (b *Box) Changed() (changed <-chan struct{}, stop func()) {
	return make(chan struct{}), func() {}
}

func names(ids []string) []string {
	var list []string
	for _, id := range ids {
		list = append(list, Name(id))
	}
	return list
}
