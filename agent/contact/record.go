package contact

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// Collections of the records. In parties, a party has one record for each DID of ours that
// knows it. In strangers, a stranger has a second record, the mark, with the same key and
// without a value. Marks serve to count strangers, and to find the oldest. Since the marks
// are apart, a contact cannot be deleted as a stranger while another process changes it.
const (
	parties   = "contact"
	strangers = "contact/stranger"
)

const (
	// maxContactBytes and maxStrangerBytes are the largest values of a record. A did:peer
	// has 8 KiB at most.
	maxContactBytes  = 32 << 10
	maxStrangerBytes = 4 << 10
	// maxCached is how many records are kept in memory, and how many times of messages.
	maxCached = 10_000
)

// entry is the value of a record: what a DID of ours knows about one DID of a party.
type entry struct {
	Own     string `json:"own"`
	Peer    string `json:"peer"` // in the longest form that is known
	Contact bool   `json:"contact,omitzero"`
	// Next is the DID that the party has rotated to from Peer, in the form that resolves.
	// Ended means that the party has ended the relationship instead.
	Next  string `json:"next,omitzero"`
	Ended bool   `json:"ended,omitzero"`
	// IssuedAt is the iat of the last from_prior that Peer has issued. Since is the iat of
	// the last from_prior by which the party has rotated to Peer.
	IssuedAt time.Time `json:"iat,omitzero"`
	Since    time.Time `json:"since,omitzero"`
	// Confirmed means that the party knows that we know about its rotation to Peer.
	Confirmed bool `json:"confirmed,omitzero"`
	Rotations int  `json:"rotations,omitzero"` // that have led to Peer
	// Heard is the time of the last message of a contact, or up to heardEvery before.
	Heard time.Time `json:"heard,omitzero"`
	// Prior is the DID that has announced a rotation to Peer, at the iat PriorAt. It is empty
	// once Peer has sent a message of its own.
	Prior   string    `json:"prior,omitzero"`
	PriorAt time.Time `json:"prior_iat,omitzero"`
	// Dialect belongs to a contact. A value in a record does not change: Learn replaces it.
	Dialect *Dialect `json:"dialect,omitzero"`
}

// record is an entry as it is stored.
type record struct {
	entry
	key       key
	version   uint64    // 0 if the record is not stored
	marked    bool      // the party has a mark in strangers
	unbounded bool      // store the record even if there are too many contacts
	forgotten bool      // delete the record
	read      time.Time // when the record was read
}

// key is a digest of a DID of ours and one of a party, so that its size does not depend on
// the length of the DIDs.
type key [sha256.Size]byte

// String returns the key of the record in the store.
func (k key) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// parseKey is the inverse of String.
func parseKey(s string) (k key, ok bool) {
	n, err := base64.RawURLEncoding.Decode(k[:], []byte(s))
	return k, err == nil && n == len(k)
}

// keyOf returns the key of a DID of ours and one of a party, each in any form. DIDs have no
// spaces.
func keyOf(own, peer string) key {
	return sha256.Sum256([]byte(did.Canonical(own) + " " + did.Canonical(peer)))
}

// longest returns the longer of two forms of one DID. It is the form that resolves.
func longest(a, b string) string {
	if len(a) > len(b) {
		return a
	}
	return b
}

// load returns the record of a party. Its version is 0 if there is no record.
func (b *Book) load(ctx context.Context, own, peer string) (record, error) {
	r, err := b.cached(ctx, keyOf(own, peer))
	if r.version == 0 {
		r.Own, r.Peer = own, peer
	}
	return r, err
}

// cached is load with the key. It keeps no string of the caller, which could keep a whole
// message in memory.
func (b *Book) cached(ctx context.Context, k key) (record, error) {
	b.mu.Lock()
	r, ok := b.cache.Get(k)
	changed := b.changed[k[0]]
	b.mu.Unlock()
	now := time.Now()
	if ok && now.Sub(r.read) < b.cfg.Fresh {
		return r, nil
	}
	r, err := b.stored(ctx, k)
	if err != nil {
		return record{}, err
	}
	r.read = now
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed[k[0]] == changed {
		b.cache.Put(k, r)
		if b.cache.Len() > maxCached {
			b.cache.RemoveOldest()
		}
	}
	return r, nil
}

// stored reads a record from the store. Its version is 0 if there is no record.
func (b *Book) stored(ctx context.Context, k key) (record, error) {
	got, err := b.st.Records().Get(ctx, parties, k.String())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return record{key: k}, nil
	case err != nil:
		return record{}, fmt.Errorf("contact: %w", err)
	}
	e, err := decode(got.Value)
	return record{entry: e, key: k, version: got.Version, marked: !e.Contact}, err
}

func decode(value []byte) (e entry, err error) {
	if err := json.Unmarshal(value, &e); err != nil {
		return entry{}, fmt.Errorf("contact: damaged record: %w", err)
	}
	return e, nil
}
