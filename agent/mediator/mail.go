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
	event := eventOf(&f)
	if err := m.Meter(ctx, f); err != nil {
		return err
	}
	start, stored := time.Now(), false
	a, e, err := m.ownerForMail(ctx, f.Next)
	if err == nil {
		event.Account = a.ID
		stored, err = m.accept(ctx, a, e, &f)
	}
	if err != nil {
		return m.refused(ctx, event, err)
	}
	if stored && m.cfg.Trace.Accepted != nil {
		m.cfg.Trace.Accepted(ctx, event)
	}
	if time.Since(start) > grace/2 {
		m.late(ctx, a, event.Recipient)
	}
	return nil
}

// accept stores mail for an account. It reports whether the mail was not stored already.
func (m *Mediator) accept(ctx context.Context, a *Account, e *entry, f *Forward) (bool, error) {
	if !a.Blocked.IsZero() {
		return false, ErrBlocked
	}
	if most := m.cfg.Limits.MaxPacket; int64(len(f.Packet.Data)) > most {
		return false, &LimitError{Limit: LimitPacket, Most: most}
	}
	party, err := m.sender(ctx, a, e, f)
	if err != nil {
		return false, err
	}
	name, now := Name(f.Next), m.cfg.Now()
	mail := store.Mail{
		ID: MailID(name, f.Packet.Data), For: name, Sender: party, Packet: f.Packet,
		Time: now, Expires: now.Add(m.cfg.Limits.MaxAge),
		BoxShare: m.cfg.Limits.Box, PairShare: m.cfg.Limits.Pair, SenderShare: m.cfg.Limits.Sender,
	}
	if !f.Expires.IsZero() && f.Expires.Before(mail.Expires) {
		mail.Expires = f.Expires
	}
	if f.Delay > 0 {
		mail.Due = now.Add(f.Delay)
	}
	err = m.cfg.Mailbox.Deposit(ctx, mail, a.boxes()...)
	switch {
	case errors.Is(err, store.ErrExists):
		return false, nil
	case errors.Is(err, store.ErrFull):
		return false, full(err)
	case err != nil:
		return false, fmt.Errorf("mediator: %w", err)
	}
	return true, nil
}

// Meter takes a forward of the rates of its address and of its sender. Accept does so itself; a
// forward that is handed on elsewhere needs a call. The error is a *LimitError.
func (m *Mediator) Meter(ctx context.Context, f Forward) error {
	if err := m.meter.forward(&f, m.cfg.Now()); err != nil {
		return m.refused(ctx, eventOf(&f), err)
	}
	return nil
}

func eventOf(f *Forward) Event {
	e := Event{Recipient: Name(f.Next), Packets: 1, Bytes: int64(len(f.Packet.Data))}
	switch {
	case f.Sender != "":
		e.Sender = "did"
	case f.Capability != "":
		e.Sender = "cap"
	case f.Address.IsValid():
		e.Sender = "addr"
	}
	return e
}

// late moves mail that was accepted for an account so slowly that the account may have lost the
// name since, and what else was in its boxes has moved already.
func (m *Mediator) late(ctx context.Context, a *Account, name string) {
	now, _, err := m.owner(ctx, name)
	if err != nil || now.ID == a.ID {
		return
	}
	for _, box := range a.boxes() {
		if _, err := m.moveBox(ctx, box, name, now.boxes()); err != nil {
			m.cfg.Logger.WarnContext(ctx, "mail of a displaced registration has not moved", "account", a.ID, "error", err)
		}
	}
}

// MailID returns the id of mail: the same bytes for one recipient have one id.
func MailID(name string, data []byte) string {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{0})
	h.Write(data)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// Tell puts a message of the mediator into the boxes of all devices of an account, also of one
// that is blocked. packet makes the packet for a device, whose DID is in the form in which the
// device has enrolled. The mail counts for no sender, but a box may be full. Errors are
// ErrNotEnrolled, a *LimitError, that of packet and those of the store. If several devices
// fail, the errors are joined.
func (m *Mediator) Tell(ctx context.Context, account string, packet func(device string) (store.Packet, error)) error {
	a, err := m.find(ctx, account)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range a.Devices {
		p, err := packet(d.DID)
		if err == nil {
			now := m.cfg.Now()
			err = full(m.cfg.Mailbox.Deposit(ctx, store.Mail{
				ID: MailID(d.Name, p.Data), For: d.Name, Sender: "mediator", Packet: p, Time: now, Expires: now.Add(m.cfg.Limits.MaxAge),
			}, d.Box))
		}
		if err != nil && !errors.Is(err, store.ErrExists) {
			failed = append(failed, fmt.Errorf("mediator: tell %s: %w", d.Name, err))
		}
	}
	return errors.Join(failed...)
}

// find returns the account with an ID, or with a device or another recipient, also if it is blocked.
func (m *Mediator) find(ctx context.Context, id string) (*Account, error) {
	a, err := m.account(ctx, id)
	if !errors.Is(err, ErrNotEnrolled) {
		return a, err
	}
	a, _, err = m.owner(ctx, id)
	return a, err
}
