//go:build pkcs11

package pkcs11

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	p11 "github.com/miekg/pkcs11"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring/internal/owned"
	"github.com/didcomm-go/didcomm/did"
)

// Errors of this package. Match them with errors.Is.
var (
	// ErrToken: the module has no token with the label, or several.
	ErrToken = errors.New("pkcs11: no such token")
	// ErrPIN: the token refused the PIN. A token locks itself after a few wrong PINs.
	ErrPIN = errors.New("pkcs11: PIN refused")
	// ErrKey: a key does not exist, is ambiguous, or has a type that this package does not
	// support; or a key id is not valid.
	ErrKey = errors.New("pkcs11: no usable key")
	// ErrClosed: the Token was closed.
	ErrClosed = errors.New("pkcs11: closed")
)

// DefaultSessions is the default of Config.Sessions.
const DefaultSessions = 8

// Config is the configuration of Open.
type Config struct {
	Module string // path of the PKCS#11 library, from the vendor of the token
	Token  string // label of the token
	// PIN returns the user's PIN. Only Open calls PIN. The result is not kept and never
	// part of an error. See PINFile and PINEnv.
	PIN func() (string, error)
	// Sessions is the number of operations that the token runs at the same time. The
	// default is DefaultSessions.
	Sessions int
}

// PINFile returns a function for Config.PIN that reads the PIN from a file. Line breaks at the
// end of the file are not part of the PIN.
func PINFile(path string) func() (string, error) {
	return func() (string, error) {
		data, err := os.ReadFile(path)
		return strings.TrimRight(string(data), "\r\n"), err
	}
}

// PINEnv returns a function for Config.PIN that reads the PIN from an environment variable.
func PINEnv(name string) func() (string, error) {
	return func() (string, error) {
		pin, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("%s is not set", name)
		}
		return pin, nil
	}
}

// Token is an open token. Use Open, and call Close at the end. A Token is safe for concurrent
// use.
type Token struct {
	module   *p11.Ctx
	slot     uint
	login    p11.SessionHandle      // stays open, since closing the last session logs out
	sessions chan p11.SessionHandle // idle sessions; 0 stands for a session that is not open yet

	closing sync.Once
	closed  chan struct{}

	mu   sync.RWMutex // guards what follows
	keys map[string]*key
	dids owned.DIDs
	held owned.Keys
}

var (
	_ envelope.Keys      = (*Token)(nil)
	_ envelope.Owner     = (*Token)(nil)
	_ envelope.KeyFinder = (*Token)(nil)
)

// Open loads the module and logs in to the token. The module stays loaded and initialized
// until the process ends, because other code of the process may use it, too. If other code has
// already logged in to the token, the PIN is not checked.
//
// The error matches ErrToken if there is not exactly one token with the label, and ErrPIN if
// the token refuses the PIN. Other errors are those of the module and of Config.PIN.
func Open(cfg Config) (*Token, error) {
	if cfg.PIN == nil {
		return nil, errors.New("pkcs11: Config needs PIN")
	}
	cfg.Sessions = cmp.Or(max(cfg.Sessions, 0), DefaultSessions)
	module := p11.New(cfg.Module)
	if module == nil {
		return nil, fmt.Errorf("pkcs11: %s cannot be loaded as a PKCS#11 module", cfg.Module)
	}
	if err := module.Initialize(); err != nil && !errors.Is(err, p11.Error(p11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return nil, fmt.Errorf("initialize module %s: %w", cfg.Module, err)
	}
	slot, err := find(module, cfg.Token)
	if err != nil {
		return nil, err
	}
	t := &Token{
		module: module, slot: slot,
		sessions: make(chan p11.SessionHandle, cfg.Sessions),
		closed:   make(chan struct{}),
		keys:     make(map[string]*key),
	}
	for range cfg.Sessions {
		t.sessions <- 0
	}
	if t.login, err = t.open(); err != nil {
		return nil, err
	}
	if err := t.logIn(cfg.PIN); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if err := t.bindAll(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// find returns the slot of the token with the label.
func find(module *p11.Ctx, label string) (uint, error) {
	slots, err := module.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list the module's slots: %w", err)
	}
	var found []uint
	for _, slot := range slots {
		info, err := module.GetTokenInfo(slot)
		if err == nil && strings.TrimRight(info.Label, " \x00") == label {
			found = append(found, slot)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("%w: label %q", ErrToken, label)
	default:
		return 0, fmt.Errorf("%w: label %q is that of %d tokens", ErrToken, label, len(found))
	}
}

func (t *Token) logIn(pin func() (string, error)) error {
	secret, err := pin()
	if err != nil {
		return fmt.Errorf("pkcs11: read the PIN: %w", err)
	}
	err = t.module.Login(t.login, p11.CKU_USER, secret)
	var code p11.Error
	errors.As(err, &code)
	switch code {
	case p11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_LOCKED, p11.CKR_PIN_EXPIRED:
		return fmt.Errorf("%w: %w", ErrPIN, err)
	}
	if err != nil {
		return fmt.Errorf("log in to the token: %w", err)
	}
	return nil
}

// bindAll binds the keys whose labels are key ids.
func (t *Token) bindAll() error {
	labels, err := t.labels()
	if err != nil {
		return err
	}
	for _, label := range labels {
		if !isKID(label) {
			continue
		}
		// A token may hold keys of types that are not supported here.
		if err := t.Bind(label, label); err != nil && !errors.Is(err, ErrKey) {
			return err
		}
	}
	return nil
}

func isKID(s string) bool {
	u, err := did.ParseURL(s)
	return err == nil && u.Fragment != ""
}

// Bind binds the key with the label to kid, the DID URL with fragment by which a DID document
// lists the key. If another key was bound to kid, Bind replaces it. The error matches ErrKey if
// kid is not valid or there is no usable key with the label. Other errors are those of the
// token.
func (t *Token) Bind(kid, label string) error {
	if !isKID(kid) {
		return fmt.Errorf("%w: key id %.200q is not a DID URL with a fragment", ErrKey, kid)
	}
	k, err := t.find(label)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, bound := t.keys[kid]; bound {
		t.held.Remove(kid, old.public)
	} else {
		t.dids.Add(kid)
	}
	t.keys[kid] = k
	t.held.Add(kid, k.public)
	return nil
}

// Public returns the public key of the key with the label. Its type is *ecdsa.PublicKey,
// ed25519.PublicKey or *ecdh.PublicKey (X25519). The error matches ErrKey if there is no usable
// key with the label. Other errors are those of the token.
func (t *Token) Public(label string) (crypto.PublicKey, error) {
	k, err := t.find(label)
	if err != nil {
		return nil, err
	}
	return k.public, nil
}

// KeyAgreement returns a handle of the key bound to kid, for ECDH. The error matches
// envelope.ErrNoKey if no key is bound to kid or if the key must not derive.
func (t *Token) KeyAgreement(_ context.Context, kid string) (ecdh.KeyExchanger, error) {
	k, err := t.key(kid)
	if err != nil {
		return nil, err
	}
	return k.agreement(kid)
}

// Signer returns a handle of the key bound to kid, for signatures. The error matches
// envelope.ErrNoKey if no key is bound to kid or if the key must not sign.
func (t *Token) Signer(_ context.Context, kid string) (crypto.Signer, error) {
	k, err := t.key(kid)
	if err != nil {
		return nil, err
	}
	return k.signing(kid)
}

func (t *Token) key(kid string) (*key, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if k, ok := t.keys[kid]; ok {
		return k, nil
	}
	return nil, fmt.Errorf("%w: %.200s", envelope.ErrNoKey, kid)
}

// Own returns the DID that id, a DID, names, in the form of the key ids that keys are bound
// to. If there are key ids with the long and with the short form of a did:peer:4, the result
// is the long form. The error matches envelope.ErrNoKey if no key is bound to a key id of the
// DID.
func (t *Token) Own(_ context.Context, id string) (string, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.dids.Own(id)
}

// DIDs returns at most n of the DIDs that have a bound key, in the order in which the first
// key of each DID was bound. The error is always nil.
func (t *Token) DIDs(_ context.Context, n int) ([]string, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.dids.First(n), nil
}

// FindKey returns the key id that the key with a public key is bound to, as envelope.KeyFinder
// describes it. If the key is bound to several key ids, the result is the first one. The error
// matches envelope.ErrNoKey if no such key is bound.
func (t *Token) FindKey(_ context.Context, multikey string) (string, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.held.Find(multikey)
}
