// Package outofband implements Out-of-Band 2.0 (DIDComm v2.1, Out Of Band Messages). An
// invitation tells a party that has no connection with us yet how to reach a DID of ours. It
// travels as a URL, as a QR code of the URL, or as JSON.
//
// To invite others:
//
//   - Call [New] to make an [Invitation], and [Invitation.URL] to write it.
//   - Keep the invitation in a [Book]. The option [Book.Serve] of [agent.NewMux] then matches
//     the messages that come to invitations, and enforces their limits.
//
// To accept the invitation of another party:
//
//   - Call [Parse], or [Opener.Open], which also fetches short URLs.
//   - Call [Accept], which makes the inviter a contact.
//   - Send it a message with the option [agent.Parent], for example with trustping.Ping, or
//     answer one of the attached messages with [Invitation.Answer].
//
// An invitation is neither encrypted nor signed. Everybody who sees it can use it, and everybody
// can write one in the name of any DID. What it says is known to be true only when the
// inviter has answered from the DID.
//
// # Strict writing, tolerant reading
//
// An invitation is written as the specification says: base64url without padding, in the
// parameter _oob. Also read are padding, the standard alphabet, the parameter oob of version
// 1 if its value is an invitation of version 2, and attached messages in the shape of DIDComm
// v1 (@type and @id), which Credo writes and expects.
package outofband

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/go-json-experiment/json/jsontext"
)

// The URI of the protocol, and its message type.
const (
	PIURI          = "https://didcomm.org/out-of-band/2.0"
	TypeInvitation = PIURI + "/invitation"
)

// Profile is the profile of DIDComm v2 in [Invitation.Accept].
const Profile = "didcomm/v2"

// Limits of an invitation.
const (
	MaxBytes       = 64 << 10 // of an invitation in any form: URL, base64 or JSON
	MaxAttachments = 16
	maxDepth       = 32
	maxList        = 100
)

// Errors of this package. Match them with errors.Is.
var (
	// ErrInvalid: the text is not an invitation.
	ErrInvalid = errors.New("not an out-of-band invitation")
	// ErrVersion: the text is an invitation of DIDComm v1.
	ErrVersion = errors.New("an invitation of DIDComm v1, which is not supported")
	// ErrProfile: the inviter does not accept messages of DIDComm v2.
	ErrProfile = errors.New("the inviter does not accept DIDComm v2")
	// ErrShort: the text is a URL without an invitation. The invitation has to be fetched:
	// see Opener.
	ErrShort = errors.New("the URL has no invitation in it")
	// ErrExpired: the invitation has expired.
	ErrExpired = errors.New("the invitation has expired")
)

// Invitation is an invitation of version 2.0.
type Invitation struct {
	// ID is the parent thread (pthid) of the messages that answer the invitation. Required.
	ID string
	// From is the DID of the inviter. Required.
	From string
	// GoalCode and Goal say what the inviter wants, for programs and for people. They are
	// claims.
	GoalCode, Goal string
	// Accept has the profiles of DIDComm that the inviter accepts, most preferred first. An
	// empty list says nothing.
	Accept []string
	// Attachments are messages of which the invited party answers one: see Attached.
	Attachments []message.Attachment
	// Expires is when the invitation ends, to the second (expires_time). Zero means that the
	// invitation does not say.
	Expires time.Time
}

// New returns an invitation of a DID of ours, with a new ID, that accepts DIDComm v2.
func New(from string) *Invitation {
	return &Invitation{ID: message.NewID(), From: from, Accept: []string{Profile}}
}

// Attach adds a message that the invited party may answer. The first of several messages is
// preferred. Credo refuses an invitation with such a message, since it expects the shape of
// DIDComm v1. The error matches message.ErrInvalid if m cannot be written.
func (i *Invitation) Attach(m *message.Message) error {
	data, err := m.Append(nil)
	if err == nil {
		i.Attachments = append(i.Attachments, message.JSONAttachment(message.NewID(), "application/json", data))
	}
	return err
}

// body is the body of an invitation.
type body struct {
	GoalCode string   `json:"goal_code,omitempty"`
	Goal     string   `json:"goal,omitempty"`
	Accept   profiles `json:"accept,omitempty"`
}

// profiles is a list of profiles. Some peers write one profile without a list.
type profiles []string

// UnmarshalJSON reads a list of strings, or a string.
func (p *profiles) UnmarshalJSON(data []byte) error {
	if jsontext.Value(data).Kind() == '"' {
		*p = make(profiles, 1)
		return json.Unmarshal(data, &(*p)[0])
	}
	return json.Unmarshal(data, (*[]string)(p))
}

// MarshalJSON returns the invitation as a plaintext message without white space. The error
// matches ErrInvalid if the ID is empty, From is no DID, or an attachment cannot be written.
func (i *Invitation) MarshalJSON() ([]byte, error) {
	m, err := message.New(TypeInvitation, body{i.GoalCode, i.Goal, i.Accept})
	if err == nil {
		m.Typ = "" // as in the specification's example, to keep the URL short
		m.ID, m.From, m.ExpiresTime, m.Attachments = i.ID, i.From, i.Expires, i.Attachments
		if _, err = did.Parse(i.From); err == nil {
			data, appendErr := m.Append(nil)
			if err = appendErr; err == nil {
				value := jsontext.Value(data)
				err = value.Compact()
				return value, err
			}
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
}

// UnmarshalJSON reads an invitation from its JSON. Errors are those of [Parse].
func (i *Invitation) UnmarshalJSON(data []byte) error {
	read, err := parseJSON(data)
	if err == nil {
		*i = *read
	}
	return err
}

// URL returns the invitation as a URL: base with the parameter _oob. base is a URL whose page
// should tell people what to do with the invitation. Errors match ErrInvalid: those of
// MarshalJSON, and errors for a base that is no URL and for a URL of more than [MaxBytes].
func (i *Invitation) URL(base string) (string, error) {
	data, err := i.MarshalJSON()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme == "" {
		return "", fmt.Errorf("%w: base of the URL: want https://HOST/PATH", ErrInvalid)
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "_oob=" + base64.RawURLEncoding.EncodeToString(data)
	if s := u.String(); len(s) <= MaxBytes {
		return s, nil
	}
	return "", fmt.Errorf("%w: URL of more than %d bytes", ErrInvalid, MaxBytes)
}

// Expired reports whether the invitation has ended by a time.
func (i *Invitation) Expired(now time.Time) bool {
	return !i.Expires.IsZero() && !now.Before(i.Expires)
}

// acceptsV2 reports whether the inviter can be sent messages of DIDComm v2.
func (i *Invitation) acceptsV2() bool {
	return len(i.Accept) == 0 || slices.ContainsFunc(i.Accept, func(p string) bool {
		p, _, _ = strings.Cut(strings.ToLower(p), ";")
		return p == Profile || strings.HasPrefix(p, Profile+".")
	})
}
