package identity

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// Errors of a Set that users act on, besides those of an Identity; match them with
// errors.Is.
var (
	// ErrShared: an identity of another party in the Set has the same key. Peers would know
	// from the key that both belong to one agent.
	ErrShared = errors.New("identity: another identity has this key")
	// ErrRetired: the identity was retired. It can be removed and added anew.
	ErrRetired = errors.New("identity: retired")
)

// SetConfig is what a Set works with. Records and Keys are required.
type SetConfig struct {
	// Records keep the identities: DIDs, documents, key ids and limits, and no private
	// keys. Several processes may share them.
	Records store.Records
	// Keys lend out the private keys of all identities, by the names of Identity.Handles.
	// These are the key ids, or what Find was given. A process finds what another one has
	// added, so Keys should find its keys too: those of a KMS or a token do; a
	// keyring.Sealed has the keys that were there when it was opened.
	Keys envelope.Keys
	// Fresh is how long what was read of Records is taken to hold. For so long a process
	// does not see that another one has retired or removed an identity. Default 2 s.
	Fresh time.Duration
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Logger gets what is wrong with records, and DIDs. Default: none.
	Logger *slog.Logger
}

// Settings are what a Set knows of an identity besides its keys.
type Settings struct {
	// Party names whom the identity belongs to, such as a tenant. Peers may find out that
	// identities of one Party belong together: these may have the same keys, and a message
	// for one of them may name another one (see Set.Related). An identity with an empty
	// Party belongs together with no other identity.
	Party string
	// Shares bound what the identity may have in the agent's store at a time.
	Shares store.Shares
}

// Set are the identities of one agent. They are kept in records, and an index of them in
// memory: less than 1 KiB for each. Make one with NewSet. All methods may be called at the
// same time from many goroutines.
//
// No method but List and NewSet takes longer with many identities than with one. What a
// method returns for a DID does not depend on any other identity of the Set. The exceptions
// are DIDs, which lists several, and Related.
type Set struct {
	// Static after construction.
	cfg     SetConfig
	methods did.Methods // of DIDs that are their documents

	turn  chan struct{} // held by whoever brings records into the index
	marks []mark        // guarded by turn
	docs  documents

	mu     sync.RWMutex // guards all below
	index  index
	read   time.Time // when records were last read, or could not be read
	failed error     // why they could not
}

var (
	_ envelope.Keys    = (*Set)(nil)
	_ envelope.Owner   = (*Set)(nil)
	_ envelope.Relater = (*Set)(nil)
	_ did.Resolver     = (*Set)(nil)
)

const (
	defaultFresh = 2 * time.Second
	// missFresh is Fresh for a DID that is not in the index: another process may have
	// just added it.
	missFresh = time.Second
)

// NewSet makes a Set of the identities in cfg.Records, all of which it reads. Errors are
// those of the records.
func NewSet(ctx context.Context, cfg SetConfig) (*Set, error) {
	if cfg.Records == nil || cfg.Keys == nil {
		return nil, errors.New("identity: SetConfig needs Records and Keys")
	}
	if cfg.Fresh <= 0 {
		cfg.Fresh = defaultFresh
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{cfg: cfg, turn: make(chan struct{}, 1)}
	s.methods = methods(s.longForm)
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// KeyAgreement returns the private key under kid for ECDH, from SetConfig.Keys. The error
// matches envelope.ErrNoKey if kid is not a key for key agreement of an identity that is
// in use, or retired until a later time. Other errors are those of the records and of
// SetConfig.Keys.
func (s *Set) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	name, err := s.handle(ctx, kid, ToAgree)
	if err != nil {
		return nil, err
	}
	return s.cfg.Keys.KeyAgreement(ctx, name)
}

// Signer returns the private key under kid for signatures, from SetConfig.Keys. Errors are
// those of KeyAgreement.
func (s *Set) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	name, err := s.handle(ctx, kid, ToSign)
	if err != nil {
		return nil, err
	}
	return s.cfg.Keys.Signer(ctx, name)
}

// handle is the name of the private key under kid, which is exact.
func (s *Set) handle(ctx context.Context, kid string, use Use) (string, error) {
	base := did.Base(kid)
	e, err := s.find(ctx, base)
	if err != nil {
		return "", err
	}
	if e == nil || e.did != base { // the short form of a did:peer:4 is another kid
		return "", noKey(kid)
	}
	name, ok := e.name(kid[len(base):], use)
	if !ok {
		return "", noKey(kid)
	}
	return name, nil
}

// Own returns the DID of ours that id names in any of its forms, in the form that
// resolves: of a did:peer:4 the long one. Errors: envelope.ErrNoKey if id names none that
// is in use, or retired until a later time; those of the records.
func (s *Set) Own(ctx context.Context, id string) (string, error) {
	e, err := s.find(ctx, id)
	if err != nil {
		return "", err
	}
	if e == nil {
		return "", noKey(id)
	}
	return e.did, nil
}

// DIDs returns at most n DIDs of ours, those that were added first. The error is always
// nil.
func (s *Set) DIDs(ctx context.Context, n int) ([]string, error) {
	s.glance(ctx)
	now := s.cfg.Now().UnixNano()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.first(n, now), nil
}

// Related reports whether two DIDs of ours, each in any of its forms, are the same or have
// the same Settings.Party. Errors are those of the records.
func (s *Set) Related(ctx context.Context, a, b string) (bool, error) {
	one, err := s.find(ctx, a)
	if err != nil || one == nil {
		return false, err
	}
	other, err := s.find(ctx, b)
	if err != nil || other == nil {
		return false, err
	}
	return one.did == other.did || one.party != "" && one.party == other.party, nil
}

// Shares returns the bounds of the identity that id names in any of its forms, for
// agent.Config.Shares. No record is read: an identity that another process has just added
// has no bounds until a message for it was opened.
func (s *Set) Shares(id string) store.Shares {
	if e := s.look(id); e != nil {
		return e.shares
	}
	return store.Shares{}
}

// find returns what the index has of a DID, nil if there is nothing that can be used.
func (s *Set) find(ctx context.Context, id string) (*entry, error) {
	e := s.look(id)
	if e != nil {
		s.glance(ctx)
	} else if err := s.renew(ctx, min(missFresh, s.cfg.Fresh)); err != nil {
		return nil, err
	}
	if e = s.look(id); e == nil || e.ended(s.cfg.Now().UnixNano()) {
		return nil, nil
	}
	return e, nil
}

func (s *Set) look(id string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.byDID[id]
}
