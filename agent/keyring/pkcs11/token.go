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

// Errors that users act on; match them with errors.Is.
var (
	// ErrToken: the module has no token of that label, or several.
	ErrToken = errors.New("pkcs11: no such token")
	// ErrPIN: the token refused the PIN. A token locks itself after a few of them.
	ErrPIN = errors.New("pkcs11: PIN refused")
	// ErrKey: a key that is not there, or there twice, or of a type that is not
	// served here.
	ErrKey = errors.New("pkcs11: no usable key")
	// ErrClosed: the Token was closed.
	ErrClosed = errors.New("pkcs11: closed")
)

// DefaultSessions is for how many operations a token is asked at once.
const DefaultSessions = 8

// Config says which token to open.
type Config struct {
	Module string // path of the PKCS#11 library of its vendor
	Token  string // label of the token
	// PIN returns the user's PIN. It is called by Open alone, and neither kept nor
	// put into an error. See PINFile and PINEnv.
	PIN func() (string, error)
	// Sessions bounds the operations at once; 0 is DefaultSessions.
	Sessions int
}

// PINFile reads the PIN from a file, whose last line break it passes over.
func PINFile(path string) func() (string, error) {
	return func() (string, error) {
		data, err := os.ReadFile(path)
		return strings.TrimRight(string(data), "\r\n"), err
	}
}

// PINEnv reads the PIN from an environment variable.
func PINEnv(name string) func() (string, error) {
	return func() (string, error) {
		pin, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("%s is not set", name)
		}
		return pin, nil
	}
}

// Token is an open token. All methods may be called at the same time from many
// goroutines. Close it.
type Token struct {
	module   *p11.Ctx
	slot     uint
	login    p11.SessionHandle      // open as long as the Token: the last one to close logs out
	sessions chan p11.SessionHandle // idle; 0 is one to open

	closing sync.Once
	closed  chan struct{}

	mu   sync.RWMutex // guards what follows
	keys map[string]*key
	dids owned.DIDs
}

var (
	_ envelope.Keys  = (*Token)(nil)
	_ envelope.Owner = (*Token)(nil)
)

// Open logs in to a token. The module stays loaded and initialized until the
// process ends, as other code in it may use it too; where that has logged in to
// the token already, the PIN is not looked at. Errors besides those of the module
// and of Config.PIN: ErrToken, ErrPIN.
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

// find returns the slot of the token with a label.
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

// bindAll lends out the keys whose labels are key ids.
func (t *Token) bindAll() error {
	labels, err := t.labels()
	if err != nil {
		return err
	}
	for _, label := range labels {
		if !isKID(label) {
			continue
		}
		// A token may hold keys that are not for us.
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

// Bind lends out the key with a label under kid, the DID URL with fragment by
// which a DID document lists it. Another key that was bound to kid is that no
// more. Errors besides those of the token: ErrKey.
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
	if _, bound := t.keys[kid]; !bound {
		t.dids.Add(kid)
	}
	t.keys[kid] = k
	return nil
}

// Public returns the public key of the key with a label: *ecdsa.PublicKey,
// ed25519.PublicKey or *ecdh.PublicKey (X25519). Errors besides those of the
// token: ErrKey.
func (t *Token) Public(label string) (crypto.PublicKey, error) {
	k, err := t.find(label)
	if err != nil {
		return nil, err
	}
	return k.public, nil
}

// KeyAgreement returns the key bound to kid for ECDH. The error matches
// envelope.ErrNoKey, also for a key that may not derive.
func (t *Token) KeyAgreement(_ context.Context, kid string) (ecdh.KeyExchanger, error) {
	k, err := t.key(kid)
	if err != nil {
		return nil, err
	}
	if k.use&Agreement == 0 {
		return nil, fmt.Errorf("%w: %.200s is for signatures only", envelope.ErrNoKey, kid)
	}
	return (*exchanger)(k), nil
}

// Signer returns the key bound to kid for signatures. The error matches
// envelope.ErrNoKey, also for a key that may not sign.
func (t *Token) Signer(_ context.Context, kid string) (crypto.Signer, error) {
	k, err := t.key(kid)
	if err != nil {
		return nil, err
	}
	if k.use&Signatures == 0 {
		return nil, fmt.Errorf("%w: %.200s is for key agreement only", envelope.ErrNoKey, kid)
	}
	return (*signer)(k), nil
}

func (t *Token) key(kid string) (*key, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if k, ok := t.keys[kid]; ok {
		return k, nil
	}
	return nil, fmt.Errorf("%w: %.200s", envelope.ErrNoKey, kid)
}

// Own returns the DID that id names, as the key ids have it that keys are bound to: of
// a did:peer:4 with key ids of both forms the long one. The error matches
// envelope.ErrNoKey if no key is bound for that DID.
func (t *Token) Own(_ context.Context, id string) (string, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.dids.Own(id)
}

// DIDs returns the first n of the DIDs whose key ids keys are bound to, in the order
// in which the first key of each was bound, or all of them if there are fewer. The error
// is always nil.
func (t *Token) DIDs(_ context.Context, n int) ([]string, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.dids.First(n), nil
}
