package envelope

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/did"
)

// search finds our keys and our DIDs in one message. It asks Owner and the Resolver
// once about each DID, so that the cost depends neither on how often a message names a
// DID nor on how many DIDs are ours.
type search struct {
	p        *Packer
	own      map[string]string // answers of Owner.Own; "" where the DID is not ours
	relative []string          // answer of Owner.DIDs, nil before
	docs     map[string]document
}

// document is the answer of the Resolver for a DID of ours.
type document struct {
	doc *did.Document
	err error
}

// heldKey is a recipient key of an envelope that is ours.
type heldKey struct {
	index int // among the recipients
	kid   string
	key   ecdh.KeyExchanger
}

// keys finds our keys among the recipients of an envelope: by the kid as it stands,
// and only if there are none by what else the kid can mean. However often a kid is
// repeated, and however many keys of ours it could stand for, there are no more key
// operations than for MaxRecipients different kids.
func (s *search) keys(ctx context.Context, kids []string) ([]heldKey, error) {
	var held []heldKey
	add := func(i int, kid string) error {
		key, err := s.p.cfg.Keys.KeyAgreement(ctx, kid)
		switch {
		case err == nil:
			held = append(held, heldKey{i, kid, key})
		case !errors.Is(err, ErrNoKey):
			return outside{fmt.Errorf("key %.200s: %w", kid, err)}
		}
		return nil
	}
	first := make(map[string]int, len(kids)) // places of the kids
	for i, kid := range kids {
		if _, repeated := first[kid]; repeated {
			continue
		}
		first[kid] = i
		if err := add(i, kid); err != nil {
			return nil, err
		}
	}
	if len(held) > 0 || s.p.owner == nil {
		return heldOrErr(held, kids)
	}
	var failed error
	for i, kid := range kids {
		if first[kid] != i {
			continue
		}
		// Only our own documents are resolved here: the sender of an envelope must
		// not choose what we fetch.
		owners, err := s.owners(ctx, kid)
		if err != nil {
			return nil, err
		}
		for _, id := range owners {
			doc, err := s.document(ctx, id)
			if err != nil {
				failed = err // the key may be another DID's
				continue
			}
			for _, m := range pick(doc, doc.KeyAgreementKeys(), kid) {
				if len(held) == s.p.cfg.MaxRecipients {
					return held, nil
				}
				if err := add(i, m.ID); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(held) == 0 && failed != nil {
		return nil, failed
	}
	return heldOrErr(held, kids)
}

func heldOrErr(held []heldKey, kids []string) ([]heldKey, error) {
	if len(held) > 0 {
		return held, nil
	}
	if len(kids) == 1 {
		return nil, fmt.Errorf("%w for %.200s", ErrNoKey, kids[0])
	}
	return nil, fmt.Errorf("%w for %.200s or any of %d other recipients", ErrNoKey, kids[0], len(kids)-1)
}

// owners returns the DIDs of ours whose documents may list the key of a kid.
func (s *search) owners(ctx context.Context, kid string) ([]string, error) {
	if kid[0] != '#' {
		own, err := s.find(ctx, kid)
		if err != nil || own == "" {
			return nil, err
		}
		return []string{own}, nil
	}
	if s.relative == nil {
		own, err := s.p.owner.DIDs(ctx, MaxRelativeDIDs)
		if err != nil {
			return nil, outside{fmt.Errorf("own DIDs: %w", err)}
		}
		s.relative = append([]string{}, own[:min(len(own), MaxRelativeDIDs)]...)
	}
	return s.relative, nil
}

// find returns the DID of ours that the DID of id names, or "".
func (s *search) find(ctx context.Context, id string) (string, error) {
	id = did.Base(id)
	if own, known := s.own[id]; known {
		return own, nil
	}
	own, err := s.p.own(ctx, id)
	if err != nil && !errors.Is(err, ErrNoKey) {
		return "", err
	}
	if s.own == nil {
		s.own = make(map[string]string)
	}
	s.own[id] = own
	return own, nil
}

// anyOwn tells whether one of ids names a DID of ours that may stand for the DID of kid,
// which is ours: of the first MaxRecipients different DIDs among them.
func (s *search) anyOwn(ctx context.Context, kid string, ids []string) (bool, error) {
	asked := make(map[string]bool)
	for _, id := range ids {
		if id = did.Base(id); asked[id] {
			continue
		}
		if len(asked) == s.p.cfg.MaxRecipients {
			break
		}
		asked[id] = true
		own, err := s.find(ctx, id)
		if err != nil {
			return false, err
		}
		if own == "" {
			continue
		}
		same, err := s.p.related(ctx, did.Base(kid), own)
		if same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// document resolves a DID of ours.
func (s *search) document(ctx context.Context, id string) (*did.Document, error) {
	d, known := s.docs[id]
	if !known {
		d.doc, d.err = s.p.resolve(ctx, id)
		if s.docs == nil {
			s.docs = make(map[string]document)
		}
		s.docs[id] = d
	}
	return d.doc, d.err
}
