package envelope

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/did"
)

// search finds our keys and our DIDs in a message, with all its layers and with the envelope in
// a forward. It asks Owner and the Resolver only once about each DID, and Keys only once about
// each key. So the cost depends neither on how often a message names a DID nor on how many DIDs
// are ours.
type search struct {
	p        *Packer
	asked    map[string]exchanger // answers of Keys.KeyAgreement by kid
	own      map[string]string    // answers of Owner.Own; "" if the DID is not ours
	relative []string             // answer of Owner.DIDs; nil if it was not asked yet
	docs     map[string]document  // by DID of ours
}

// document is an answer of the Resolver.
type document struct {
	doc *did.Document
	err error
}

// exchanger is an answer of Keys.
type exchanger struct {
	key ecdh.KeyExchanger
	err error
}

// maxAsked is how many keys one message can make Unpack ask Keys for, as a multiple of
// MaxRecipients: once for each of two layers, and as many for an envelope in a forward.
const maxAsked = 4

// keyAgreement is Keys.KeyAgreement. After maxAsked times MaxRecipients keys the error matches
// ErrNoKey.
func (s *search) keyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	e, known := s.asked[kid]
	if known {
		return e.key, e.err
	}
	if len(s.asked) >= maxAsked*s.p.cfg.MaxRecipients {
		return nil, fmt.Errorf("%w: the message names too many keys", ErrNoKey)
	}
	e.key, e.err = s.p.cfg.Keys.KeyAgreement(ctx, kid)
	if s.asked == nil {
		s.asked = make(map[string]exchanger)
	}
	s.asked[kid] = e
	return e.key, e.err
}

// heldKey is a key of ours among the recipients of an envelope.
type heldKey struct {
	index int // among the recipients
	kid   string
	key   ecdh.KeyExchanger
	byKey bool // the envelope names the key by a did:key, and not the DID of kid
}

// keys returns our keys among the recipients of an envelope. It first takes each kid as the
// id of a key. Only if we hold no such key it takes the kids as aliases, relative ids and
// did:keys.
// It returns at most MaxRecipients keys, however often the envelope repeats a kid and
// however many keys of ours a kid can mean. opened are the key ids of ours that have opened
// the envelopes around this one. A key that may belong to another party than these counts
// as a key of somebody else.
func (s *search) keys(ctx context.Context, kids, opened []string) ([]heldKey, error) {
	var held []heldKey
	add := func(i int, kid string, byKey bool) error {
		key, err := s.keyAgreement(ctx, kid)
		switch {
		case errors.Is(err, ErrNoKey):
			return nil
		case err != nil:
			return outside{fmt.Errorf("key %.200s: %w", kid, err)}
		}
		same, err := s.related(ctx, opened, kid)
		if same {
			held = append(held, heldKey{i, kid, key, byKey})
		}
		return err
	}
	first := make(map[string]int, len(kids)) // index of each different kid
	for i, kid := range kids {
		if _, repeated := first[kid]; repeated {
			continue
		}
		first[kid] = i
		if err := add(i, kid, false); err != nil {
			return nil, err
		}
	}
	if len(held) > 0 || s.p.owner == nil && s.p.finder == nil {
		return heldOrErr(held, kids)
	}
	var failed error
	for i, kid := range kids {
		if first[kid] != i {
			continue
		}
		// Only our own DIDs are resolved here, so that the sender of an envelope cannot
		// choose the documents that we fetch.
		owners, err := s.owners(ctx, kid)
		if err != nil {
			return nil, err
		}
		if len(owners) == 0 {
			own, err := s.byKey(ctx, kid, opened)
			if err != nil {
				return nil, err
			}
			if own != "" && len(held) < s.p.cfg.MaxRecipients {
				if err := add(i, own, true); err != nil {
					return nil, err
				}
			}
		}
		for _, id := range owners {
			doc, err := s.document(ctx, id)
			if err != nil {
				failed = err // another DID may have the key
				continue
			}
			for _, m := range pick(doc, doc.KeyAgreementKeys(), kid) {
				if len(held) == s.p.cfg.MaxRecipients {
					return held, nil
				}
				if err := add(i, m.ID, false); err != nil {
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

// owners returns the DIDs of ours whose documents may list the key that kid means.
func (s *search) owners(ctx context.Context, kid string) ([]string, error) {
	if s.p.owner == nil {
		return nil, nil
	}
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

// find returns the DID of ours that id, a DID or DID URL, names, or "".
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

// anyOwn returns the first of ids that names a DID of ours which may stand for the DID of kid, a
// key id of ours, or "". It looks at the first MaxRecipients different DIDs of ids.
func (s *search) anyOwn(ctx context.Context, kid string, ids []string) (string, error) {
	for _, id := range s.distinct(ids) {
		own, err := s.find(ctx, id)
		if err != nil {
			return "", err
		}
		if own == "" {
			continue
		}
		same, err := s.p.related(ctx, did.Base(kid), own)
		if err != nil {
			return "", err
		}
		if same {
			return own, nil
		}
	}
	return "", nil
}

// distinct returns the first MaxRecipients different DIDs of ids.
func (s *search) distinct(ids []string) []string {
	var dids []string
	seen := make(map[string]bool)
	for _, id := range ids {
		if id = did.Base(id); seen[id] {
			continue
		}
		if len(dids) == s.p.cfg.MaxRecipients {
			break
		}
		seen[id] = true
		dids = append(dids, id)
	}
	return dids
}

// related reports whether a message that keys of ours have opened may be for our key kid.
func (s *search) related(ctx context.Context, opened []string, kid string) (bool, error) {
	for _, o := range opened {
		if sameParty(o, kid) {
			continue
		}
		if same, err := s.p.related(ctx, did.Base(o), did.Base(kid)); !same || err != nil {
			return false, err
		}
	}
	return true, nil
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
