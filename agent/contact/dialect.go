package contact

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
)

// Limits of a Dialect. Learn keeps the newest entries, and leaves out a longer one.
const (
	maxSpoken      = 16
	maxSpokenBytes = 200
)

// Dialect is what a contact speaks where agents differ, as far as the contact has shown it.
// Protocols use it to choose between several forms of one message. The zero value is that
// of a party about which nothing is known.
type Dialect struct {
	// Speaks and Lacks list protocols and message types by URI: those that the contact has
	// used or answered, and those that it has reported as not supported. The newest is last.
	// An entry of one is not in the other.
	Speaks []string `json:"speaks,omitzero"`
	Lacks  []string `json:"lacks,omitzero"`
	// NoAcks means that the contact does not acknowledge messages that ask for that. Acks
	// means that the contact did acknowledge one since.
	NoAcks bool `json:"no_acks,omitzero"`
	Acks   bool `json:"acks,omitzero"`
	// Asked and Disclosed are digests of the last queries for features that the contact has
	// answered, and of the answer.
	Asked     string `json:"asked,omitzero"`
	Disclosed string `json:"disclosed,omitzero"`
	// Capability is the token that the contact has given us, so that its mediator takes our
	// forwards.
	Capability string `json:"capability,omitzero"`
}

// Spoke adds a URI to Speaks and removes it from Lacks.
func (d *Dialect) Spoke(uri string) { d.Speaks, d.Lacks = move(uri, d.Speaks, d.Lacks) }

// Lacked adds a URI to Lacks and removes it from Speaks.
func (d *Dialect) Lacked(uri string) { d.Lacks, d.Speaks = move(uri, d.Lacks, d.Speaks) }

// move returns to with uri, and from without it. It changes neither array.
func move(uri string, to, from []string) (newTo, newFrom []string) {
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == uri })
	}
	switch {
	case uri == "" || len(uri) > maxSpokenBytes:
		return to, from
	case !slices.Contains(to, uri):
		to = append(slices.Clone(to), uri)
	}
	if len(to) > maxSpoken {
		to = to[len(to)-maxSpoken:]
	}
	if from = without(from); len(from) == 0 {
		from = nil
	}
	return to, from
}

// Disclose records the answer to queries for features. Both texts must be the same for the
// same content. If the contact has answered the same queries differently before, it has
// changed, and all else is forgotten but the Capability.
func (d *Dialect) Disclose(queries, answer string) {
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	asked, disclosed := digest(queries), digest(answer)
	if d.Asked == asked && d.Disclosed != disclosed {
		*d = Dialect{Capability: d.Capability}
	}
	d.Asked, d.Disclosed = asked, disclosed
}

func (d *Dialect) equal(o *Dialect) bool {
	return slices.Equal(d.Speaks, o.Speaks) && slices.Equal(d.Lacks, o.Lacks) &&
		d.NoAcks == o.NoAcks && d.Acks == o.Acks && d.Asked == o.Asked && d.Disclosed == o.Disclosed && d.Capability == o.Capability
}

// Dialect returns the Dialect of the party that uses the DID peer with our DID own, or has
// rotated to another DID from there. It is the zero Dialect for a stranger. The caller must
// not change its lists. Errors are those of the store.
func (b *Book) Dialect(ctx context.Context, own, peer string) (Dialect, error) {
	_, last, _, err := b.follow(ctx, own, peer)
	if err != nil || last.Dialect == nil {
		return Dialect{}, err
	}
	return *last.Dialect, nil
}

// Learn changes the Dialect of a party by a call of f. Nothing happens for a stranger. What f
// records must be proven by authenticated messages of the party. f may be called several
// times. Errors are ErrTooLong and those of the store.
func (b *Book) Learn(ctx context.Context, own, peer string, f func(*Dialect)) error {
	return b.change(ctx, func() ([]record, error) {
		_, last, _, err := b.follow(ctx, own, peer)
		if err != nil || !last.Contact {
			return nil, err
		}
		var before, now Dialect
		if last.Dialect != nil {
			before, now = *last.Dialect, *last.Dialect
		}
		if f(&now); now.equal(&before) {
			return nil, nil
		}
		last.Dialect = &now
		return []record{last}, nil
	})
}
