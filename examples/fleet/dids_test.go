package fleet_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
)

// registry has the documents of all DIDs, which change when parties move.
type registry struct {
	mu   sync.Mutex // guards all below
	docs map[string]*did.Document
	of   map[string]string // party by the DID
	calm bool
}

func newRegistry() *registry {
	return &registry{docs: make(map[string]*did.Document), of: make(map[string]string)}
}

// publish writes the document of a party's DID.
func (r *registry) publish(p *party, id string, endpoints []string) error {
	doc := &did.Document{ID: id}
	for _, k := range [...]struct {
		fragment, typ string
		list          *[]did.Relationship
	}{
		{"#agree", did.TypeX25519KeyAgreementKey2020, &doc.KeyAgreement},
		{"#sign", did.TypeEd25519VerificationKey2020, &doc.Authentication},
	} {
		m, err := did.NewVerificationMethod(id+k.fragment, id, k.typ, p.public[id+k.fragment])
		if err != nil {
			return err
		}
		doc.VerificationMethod = append(doc.VerificationMethod, m)
		*k.list = []did.Relationship{{ID: id + k.fragment}}
	}
	for i, e := range endpoints {
		doc.Service = append(doc.Service, did.NewDIDCommService(fmt.Sprintf("%s#%d", id, i), e))
	}
	if err := doc.Index(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.docs[id], r.of[id] = doc, p.name
	return nil
}

// party is whose DID that is, "" if nobody's.
func (r *registry) party(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[id]
}

// resolve resolves at once.
func (r *registry) resolve(_ context.Context, id string) (*did.Document, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if doc := r.docs[id]; doc != nil {
		return doc, nil
	}
	return nil, did.ErrNotFound
}

// soothe ends all faults.
func (r *registry) soothe() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calm = true
}

func (r *registry) soothed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calm
}

// resolver resolves for one party, slowly, and fails at times, until there is calm.
func (r *registry) resolver(chance *rand.Rand, fail float64) did.Resolver {
	var mu sync.Mutex // guards chance
	return did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
		mu.Lock()
		delay, fails := time.Duration(chance.Int64N(int64(2*time.Second))), chance.Float64() < fail
		mu.Unlock()
		switch {
		case r.soothed():
		case !pause(delay, ctx):
			return nil, ctx.Err()
		case fails:
			return nil, errors.New("the registry cannot be reached")
		}
		return r.resolve(ctx, id)
	})
}

// party is somebody with keys and DIDs.
type party struct {
	name   string
	keys   *keyring.Keyring
	public map[string]crypto.PublicKey // by the DID URL

	mu        sync.Mutex // guards all below
	dids      []string   // the one in use last
	endpoints []string
}

func newParty(name string) *party {
	return &party{name: name, keys: keyring.New(), public: make(map[string]crypto.PublicKey)}
}

// newDID makes one more DID of a party, and publishes its document.
func (p *party) newDID(r *registry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := fmt.Sprintf("did:example:%s-%d", p.name, len(p.dids))
	for fragment, curve := range map[string]keyring.Curve{"#agree": keyring.X25519, "#sign": keyring.Ed25519} {
		key, err := keyring.Generate(curve)
		if err != nil {
			return err
		}
		p.public[id+fragment] = key.Public()
		if err := p.keys.Add(id+fragment, key); err != nil {
			return err
		}
	}
	p.dids = append(p.dids, id)
	return r.publish(p, id, p.endpoints)
}

// did is the DID in use.
func (p *party) did() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dids[len(p.dids)-1]
}

// priorTo is the DID before one of the party's, "" if that is the first.
func (p *party) priorTo(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.dids, id); i > 0 {
		return p.dids[i-1]
	}
	return ""
}

// reachedAt are the endpoints of the party now.
func (p *party) reachedAt() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.endpoints
}

// move gives all DIDs of a party other endpoints.
func (p *party) move(r *registry, endpoints ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endpoints = endpoints
	for _, id := range p.dids {
		if err := r.publish(p, id, endpoints); err != nil {
			return err
		}
	}
	return nil
}

// all are the DIDs of the party.
func (p *party) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.dids)
}
