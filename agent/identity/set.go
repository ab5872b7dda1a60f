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
	// ErrShared: an identity of another party in the Set has the same key. Peers could tell
	// from the key that both identities belong to one agent.
	ErrShared = errors.New("identity: another identity has this key")
	// ErrRetired: the identity was retired. To use it again, remove it and add it anew.
	ErrRetired = errors.New("identity: retired")
)

// SetConfig is the configuration of a Set. Records and Keys are required.
type SetConfig struct {
	// Records keeps the identities: DIDs, documents, key ids and settings, but no private
	// keys. Several processes may share the records.
	Records store.Records
	// Keys has the private keys of all identities, under the names of Identity.Handles. If
	// several processes share the records, Keys must also find the private keys that another
	// process has added. A KMS or a token does. A keyring.Sealed does not: it has the keys that
	// were in its store when it was opened.
	Keys envelope.Keys
	// Fresh is the time after which a Set looks for changes that another process has made. A
	// Set may use an identity for so long after another process has retired or removed it.
	// Default 2 s.
	Fresh time.Duration
	// Now returns the time. Default: time.Now.
	Now func() time.Time
	// Logger gets errors of the records. The log has DIDs, but no keys. Default: none.
	Logger *slog.Logger
}

// Settings are the settings of an identity in a Set.
type Settings struct {
	// Party is a name for the owner of the identity, such as a tenant. Peers may learn that
	// two identities of the same Party belong together: such identities may have the same
	// keys, and a message that is encrypted for one may be addressed to the other (see
	// Set.Related). An identity with an empty Party has an owner of its own.
	Party string
	// Shares limits what the identity may have in the agent's store at a time.
	Shares store.Shares
}

// Set has the identities of one agent. Call NewSet to make a Set. The identities are kept in
// records. An index in memory takes less than 1 KiB for each identity. All methods may be
// called at the same time from many goroutines.
//
// Only NewSet and List take longer with many identities than with one. The result of a method
// for a DID does not depend on the other identities of the Set, except for DIDs and Related.
type Set struct {
	// Static after construction.
	cfg     SetConfig
	methods did.Methods // for DIDs whose documents follow from the DID

	turn  chan struct{} // has an element while a goroutine reads or changes records
	marks []mark        // guarded by turn
	docs  documents

	mu     sync.RWMutex // guards all below
	index  index
	read   time.Time // when records were last read, or could not be read
	failed error     // why they could not
}

var (
	_ envelope.Keys      = (*Set)(nil)
	_ envelope.Owner     = (*Set)(nil)
	_ envelope.KeyFinder = (*Set)(nil)
	_ envelope.Relater   = (*Set)(nil)
	_ did.Resolver       = (*Set)(nil)
)

const (
	defaultFresh = 2 * time.Second
	// missFresh takes the place of Fresh for a DID that is not in the index. Another process
	// may have just added the DID.
	missFresh = time.Second
)

// NewSet makes a Set and reads all identities from cfg.Records. Errors are those of the
// records.
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

// KeyAgreement returns the key for encryption with the key id kid, from SetConfig.Keys. The
// error matches envelope.ErrNoKey if no identity has such a key, or if the identity has ended
// (see Set.Retire). Other errors are those of the records and of SetConfig.Keys.
func (s *Set) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	name, err := s.handle(ctx, kid, ToAgree)
	if err != nil {
		return nil, err
	}
	return s.cfg.Keys.KeyAgreement(ctx, name)
}

// Signer returns the key for signatures with the key id kid, from SetConfig.Keys. Errors are
// those of KeyAgreement.
func (s *Set) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	name, err := s.handle(ctx, kid, ToSign)
	if err != nil {
		return nil, err
	}
	return s.cfg.Keys.Signer(ctx, name)
}

// handle returns the name of the private key with the key id kid.
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

// Own returns the DID of ours that id names. id may be the long or the short form of a
// did:peer:4; the result is the long form. The error matches envelope.ErrNoKey if no identity
// has the DID, or if the identity has ended (see Set.Retire). Other errors are those of the
// records.
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

// FindKey returns the key id of the key with a public key, as envelope.KeyFinder describes it. Of
// identities that have the key, it takes the one that was added first and has not ended. Errors
// are those of KeyAgreement.
func (s *Set) FindKey(ctx context.Context, multikey string) (string, error) {
	found, err := s.withKey(ctx, multikey)
	if err != nil {
		return "", err
	}
	for _, e := range found {
		for _, use := range []Use{ToAgree, ToSign} {
			for _, k := range e.keys {
				if k.use != use {
					continue
				}
				public, err := publicKey(ctx, s.cfg.Keys, k.name(e.did), use)
				switch {
				case errors.Is(err, envelope.ErrNoKey):
				case err != nil:
					return "", err
				case isMultikey(multikey, public):
					return e.did + k.fragment, nil
				}
			}
		}
	}
	return "", noKey(multikey)
}

// withKey returns entries that may have a public key.
func (s *Set) withKey(ctx context.Context, multikey string) ([]*entry, error) {
	text, err := indexName(multikey)
	if err != nil {
		return nil, noKey(multikey)
	}
	name, _ := keyNameOf(text)
	look := func() []*entry {
		now := s.cfg.Now().UnixNano()
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.index.withKey(name, now)
	}
	if found := look(); len(found) > 0 {
		s.glance(ctx)
	} else if err := s.renew(ctx, min(missFresh, s.cfg.Fresh)); err != nil {
		return nil, err
	}
	return look(), nil
}

// publicKey returns the public key of a private key.
func publicKey(ctx context.Context, keys envelope.Keys, name string, use Use) (crypto.PublicKey, error) {
	if use == ToSign {
		key, err := keys.Signer(ctx, name)
		if err != nil {
			return nil, err
		}
		return key.Public(), nil
	}
	key, err := keys.KeyAgreement(ctx, name)
	if err != nil {
		return nil, err
	}
	return key.PublicKey(), nil
}

func isMultikey(multikey string, public crypto.PublicKey) bool {
	text, err := did.FormatMultikey(public)
	return err == nil && text == multikey
}

// DIDs returns at most n DIDs of ours, those that were added first. It leaves out identities
// that have ended. The error is always nil.
func (s *Set) DIDs(ctx context.Context, n int) ([]string, error) {
	s.glance(ctx)
	now := s.cfg.Now().UnixNano()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.first(n, now), nil
}

// Related reports whether a and b are the same DID of ours, or two DIDs of ours with the same
// Settings.Party. Each may be the long or the short form of a did:peer:4. Errors are those of
// the records.
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

// Shares returns the limits of the identity with a DID, which may be the long or the short form
// of a did:peer:4. It returns no limits if no identity has the DID. Shares has the shape that
// agent.Config.Shares asks for, and reads no records. An identity that another process has just
// added has no limits until a message for it is opened.
func (s *Set) Shares(id string) store.Shares {
	if e := s.look(id); e != nil {
		return e.shares
	}
	return store.Shares{}
}

// find returns the entry of a DID. It returns nil if there is no identity, or if the identity
// has ended.
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
