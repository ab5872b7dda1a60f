package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	stdjson "encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

// collection has one record for each identity. The key is the canonical form of the DID.
const collection = "identity"

// stored is the value of a record.
type stored struct {
	DID string `json:"did"`
	// Document is empty if the document follows from the DID.
	Document stdjson.RawMessage `json:"document,omitzero"`
	Keys     []storedKey        `json:"keys,omitzero"`
	Party    string             `json:"party,omitzero"`
	Inbox    storedShare        `json:"inbox,omitzero"`
	Outbox   storedShare        `json:"outbox,omitzero"`
	Created  time.Time          `json:"created,omitzero"`
	Retired  time.Time          `json:"retired,omitzero"`
	Until    time.Time          `json:"until,omitzero"`
	// Removed tells other processes that the identity was removed.
	Removed bool `json:"removed,omitzero"`
	// Changed is when the record was put, by the clock of the process that put it.
	Changed time.Time `json:"changed"`
}

type storedKey struct {
	ID   string `json:"id"` // rest of the key id after the DID
	Use  Use    `json:"use"`
	Name string `json:"name,omitzero"` // Handle.Name, if that is not the key id
}

type storedShare struct {
	Items int   `json:"items,omitzero"`
	Bytes int64 `json:"bytes,omitzero"`
}

// newStored makes the record value of a new identity.
func newStored(id *Identity, set Settings) (*stored, error) {
	s := &stored{DID: id.DID(), Party: set.Party, Inbox: storedShare(set.Shares.Inbox), Outbox: storedShare(set.Shares.Outbox)}
	for _, h := range id.handles {
		k := storedKey{ID: h.KID[len(s.DID):], Use: h.Use}
		if h.Name != h.KID {
			k.Name = h.Name
		}
		s.Keys = append(s.Keys, k)
	}
	if !followsFromDID(s.DID) {
		var err error
		if s.Document, err = id.doc.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// record makes a record. The names are index names for the keys.
func (s *stored) record(version uint64, names []string, expires time.Time) (store.Record, error) {
	value, err := json.Marshal(s)
	return store.Record{Collection: collection, Key: did.Canonical(s.DID), Value: value, Version: version, Index: names, Expires: expires}, err
}

func parseStored(r store.Record) (*stored, error) {
	s := new(stored)
	if err := json.Unmarshal(r.Value, s); err != nil {
		return nil, fmt.Errorf("record of %.200s: %w", r.Key, err)
	}
	if s.DID == "" || did.Canonical(s.DID) != r.Key {
		return nil, fmt.Errorf("record of %.200s is of %.200s", r.Key, s.DID)
	}
	return s, nil
}

func (s *stored) shares() store.Shares {
	return store.Shares{Inbox: store.Share(s.Inbox), Outbox: store.Share(s.Outbox)}
}

// entry makes an entry of the index. The names are those of the record.
func (s *stored) entry(version uint64, names []string) *entry {
	e := &entry{did: s.DID, version: version, created: s.Created.UnixNano(), party: s.Party, shares: s.shares(), keys: make([]entryKey, len(s.Keys))}
	if !s.Retired.IsZero() {
		e.until = s.Until.UnixNano()
	}
	for i, k := range s.Keys {
		e.keys[i] = entryKey{k.ID, k.Name, k.Use}
	}
	e.names = make([]keyName, 0, len(names))
	for _, name := range names {
		if n, ok := keyNameOf(name); ok {
			e.names = append(e.names, n)
		}
	}
	return e
}

// Member is an identity of a Set as it is kept in the records.
type Member struct {
	DID      string
	Handles  []Handle
	Settings Settings
	Created  time.Time
	// Retired is when Set.Retire was called first, and Until is when the identity ends. Both
	// are zero if the identity is not retired.
	Retired, Until time.Time
	// Version is the position of the identity in Set.List. It grows with each change.
	Version uint64
}

func (s *stored) member(version uint64) Member {
	m := Member{DID: s.DID, Settings: Settings{s.Party, s.shares()}, Created: s.Created, Retired: s.Retired, Until: s.Until, Version: version}
	for _, k := range s.Keys {
		e := entryKey{k.ID, k.Name, k.Use}
		m.Handles = append(m.Handles, Handle{s.DID + k.ID, k.Use, e.name(s.DID)})
	}
	return m
}

// keyNames returns index names for the public keys of an identity. An Ed25519 key and the
// X25519 key that is derived from it have the same name, because anybody can derive the
// X25519 key.
func keyNames(id *Identity) ([]string, error) {
	var names []string
	for _, h := range id.handles {
		public, err := id.public(h.KID)
		if err != nil {
			return nil, err
		}
		multikey, err := did.FormatMultikey(public)
		if err != nil {
			return nil, err
		}
		name, err := indexName(multikey)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// indexName returns the index name of a public key. The error matches did.ErrInvalid if multikey
// is like an Ed25519 key but is none.
func indexName(multikey string) (string, error) {
	if strings.HasPrefix(multikey, "z6Mk") { // Ed25519
		key, err := did.ParseMultikey(multikey)
		if err != nil {
			return "", err
		}
		ed, ok := key.(ed25519.PublicKey)
		if !ok {
			return "", fmt.Errorf("%w: %.80s is not an Ed25519 key", did.ErrInvalid, multikey)
		}
		x, err := didkey.KeyAgreement(ed)
		if err != nil {
			return "", err
		}
		if multikey, err = did.FormatMultikey(x); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(multikey))), nil
}

// public returns the public key with the key id kid.
func (id *Identity) public(kid string) (crypto.PublicKey, error) {
	m, ok := id.doc.Method(kid)
	if !ok {
		return nil, fmt.Errorf("%w: no method %.200s", did.ErrInvalid, kid)
	}
	return m.PublicKey()
}
