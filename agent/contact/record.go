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

// Collections of the records. A party has one record in parties for each DID of ours that
// knows it. A stranger has another one in strangers, of the same key and without a value,
// by which strangers are counted, and are found in the order in which they were met. That
// of a contact cannot be mistaken for a stranger's when several processes change both.
const (
	parties   = "contact"
	strangers = "contact/stranger"
)

const (
	// maxContactBytes and maxStrangerBytes bound the value of a record. A DID of did:peer
	// has 8 KiB at most.
	maxContactBytes  = 32 << 10
	maxStrangerBytes = 4 << 10
	// maxCached bounds the records that are in memory.
	maxCached = 10_000
)

// entry is the value of a record: what a DID of ours knows of one DID of a party.
type entry struct {
	Own     string `json:"own"`
	Peer    string `json:"peer"` // in the longest form that is known
	Contact bool   `json:"contact,omitzero"`
	// Next is the DID that the party has rotated to from Peer, in the form that resolves.
	// Ended tells that it has ended the relationship instead.
	Next  string `json:"next,omitzero"`
	Ended bool   `json:"ended,omitzero"`
	// IssuedAt is the iat of the last from_prior that Peer has issued. Since is the iat of
	// the last by which the party has come to Peer.
	IssuedAt time.Time `json:"iat,omitzero"`
	Since    time.Time `json:"since,omitzero"`
	// Confirmed tells that the party knows that we know that it has come to Peer.
	Confirmed bool `json:"confirmed,omitzero"`
	Rotations int  `json:"rotations,omitzero"` // that have led to Peer
}

// record is an entry as it is stored.
type record struct {
	entry
	key       key
	version   uint64 // 0 if it is not stored
	marked    bool   // it is stored as a stranger's
	unbounded bool   // it is to be stored even where there are too many contacts
	forgotten bool   // it is to be removed
	read      time.Time
}

// key is a digest of a DID of ours and one of a party, so that what is filed under it
// costs the same however long a stranger's DID is.
type key [sha256.Size]byte

// String is the key of the record in the store.
func (k key) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

func parseKey(s string) (k key, ok bool) {
	n, err := base64.RawURLEncoding.Decode(k[:], []byte(s))
	return k, err == nil && n == len(k)
}

// keyOf names a DID of ours and a party, by any form of their DIDs. No DID has a space in
// it.
func keyOf(own, peer string) key {
	return sha256.Sum256([]byte(did.Canonical(own) + " " + did.Canonical(peer)))
}

// longest is the longer of two forms of one DID, which is the one that resolves.
func longest(a, b string) string {
	if len(a) > len(b) {
		return a
	}
	return b
}

// load returns what is known of a party; its version is 0 if that is nothing.
func (b *Book) load(ctx context.Context, own, peer string) (record, error) {
	r, err := b.cached(ctx, keyOf(own, peer))
	if r.version == 0 {
		r.Own, r.Peer = own, peer
	}
	return r, err
}

// cached is load by the key. It holds on to no string of the caller, which may be part of
// a message.
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

// stored is the record as the store has it; its version is 0 if there is none.
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
