package jwe

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

// Envelope is a parsed JWE. Its byte slices point into the data given to
// Parse.
type Envelope struct {
	Alg  string
	Enc  Enc
	Typ  string
	SKID string // sender's key id from skid, else apu; "" for ECDH-ES
	KIDs []string
	// Deviations is what Parse tolerated.
	Deviations jose.Deviations

	recipients []recipient
	epk        *ecdh.PublicKey // nil if per recipient
	aad        []byte
	apu, apv   []byte
	iv, tag    []byte
	ciphertext []byte // base64url
}

type recipient struct {
	encryptedKey []byte // base64url
	epk          []byte // JSON, nil if protected
}

// parser collects the members of a JWE, which can be in any order.
type parser struct {
	Envelope
	jose.Refusals
	limits    Limits
	protected []byte
	aadMember []byte
	single    recipient // flattened serialization
	singleKID string
	flattened bool
	general   bool
	members   int // of iv, ciphertext, tag
	tooMany   bool
}

// Parse reads a JWE in General, Flattened or Compact serialization, and makes all checks that
// need no key. It does not copy or decode the ciphertext. Its only public-key operation is the
// check that a protected epk is on its curve.
func Parse(data []byte, limits Limits) (*Envelope, error) {
	p := &parser{limits: limits}
	if err := p.parse(data); err != nil {
		return nil, err
	}
	return &p.Envelope, nil
}

func (p *parser) parse(data []byte) error {
	if len(data) > p.limits.MaxBytes {
		return jose.ErrTooLarge
	}
	var err error
	if data = bytes.TrimSpace(data); len(data) > 0 && data[0] != '{' {
		err = p.compact(data)
	} else {
		err = p.json(data)
	}
	if err != nil {
		return err
	}
	return p.finish()
}

func (p *parser) compact(data []byte) error {
	parts := bytes.SplitN(data, []byte{'.'}, 6)
	if len(parts) != 5 {
		return fmt.Errorf("%w: neither JSON nor compact serialization", jose.ErrMalformed)
	}
	p.protected, p.single.encryptedKey = parts[0], parts[1]
	p.ciphertext = parts[3]
	p.flattened, p.members = true, 3
	p.Deviations.Note(jose.DevSerialization, "compact")
	var err error
	if p.iv, err = p.Deviations.Decode("iv", parts[2]); err != nil {
		return err
	}
	p.tag, err = p.Deviations.Decode("tag", parts[4])
	return err
}

func (p *parser) json(data []byte) error {
	return jose.Walk(data, p.limits.MaxDepth, func(c jose.Cursor) error {
		return c.Object(func(name []byte) error { return p.member(c, name) })
	})
}

func (p *parser) member(c jose.Cursor, name []byte) (err error) {
	switch string(name) {
	case "protected":
		p.protected, err = c.Text()
	case "unprotected":
		err = c.Object(func(name []byte) error {
			return p.unprotectedMember(c, name, nil)
		})
	case "recipients":
		p.general = true
		err = c.Array(func() error { return p.recipient(c) })
	case "header":
		p.flattened = true
		err = c.Object(func(name []byte) error {
			return p.recipientMember(c, name, &p.singleKID, &p.single)
		})
	case "encrypted_key":
		p.flattened = true
		p.single.encryptedKey, err = c.Text()
	case "aad":
		p.aadMember, err = c.Text()
	case "iv":
		p.members++
		p.iv, err = decodeNext(c, "iv", &p.Deviations)
	case "tag":
		p.members++
		p.tag, err = decodeNext(c, "tag", &p.Deviations)
	case "ciphertext":
		p.members++
		p.ciphertext, err = c.Text()
	default:
		err = c.Skip()
	}
	return err
}

func (p *parser) recipient(c jose.Cursor) error {
	if len(p.recipients) >= p.limits.MaxRecipients {
		if p.tooMany {
			return c.Skip()
		}
		p.tooMany = true
		if err := p.Refuse("too-many-recipients", ErrTooManyRecipients); err != nil {
			return err
		}
		return c.Skip()
	}
	var r recipient
	var kid string
	err := c.Object(func(name []byte) (err error) {
		switch string(name) {
		case "header":
			err = c.Object(func(name []byte) error { return p.recipientMember(c, name, &kid, &r) })
		case "encrypted_key":
			r.encryptedKey, err = c.Text()
		default:
			err = c.Skip()
		}
		return err
	})
	p.recipients = append(p.recipients, r)
	p.KIDs = append(p.KIDs, kid)
	return err
}

func (p *parser) recipientMember(c jose.Cursor, name []byte, kid *string, r *recipient) error {
	if string(name) == "kid" {
		b, err := c.Text()
		*kid = string(b)
		return err
	}
	return p.unprotectedMember(c, name, r)
}

// unprotectedMember reads a member of an unprotected header, and refuses members that an
// attacker could change on the way. r is nil for the shared unprotected header.
func (p *parser) unprotectedMember(c jose.Cursor, name []byte, r *recipient) error {
	v, err := c.Value()
	if err != nil {
		return err
	}
	switch string(name) {
	case "alg", "enc":
		return p.Refuse("alg-unprotected", fmt.Errorf("%w: %s", jose.ErrUnprotectedAlg, name))
	case "zip":
		return p.Refuse("zip", ErrCompressed)
	case "crit":
		return p.Refuse("crit", fmt.Errorf("%w: crit outside the protected header", jose.ErrCritical))
	case "epk":
		if r != nil {
			r.epk = v
			p.Deviations.Note(DevEPKUnprotected, "epk in the recipient's header")
		}
	}
	return nil
}

func (p *parser) finish() error {
	if err := p.structure(); err != nil {
		return err
	}
	p.aad = p.protected
	if p.aadMember != nil {
		p.aad = slices.Concat(p.protected, []byte{'.'}, p.aadMember)
	}
	if len(p.protected) == 0 {
		return nil // a survey, which has found this already
	}
	var h header
	if err := p.header(&h); err != nil {
		return err
	}
	p.Alg, p.Enc, p.Typ = known(h.alg), Enc(known(h.enc)), known(h.typ)
	if err := p.algorithms(); err != nil {
		return err
	}
	p.Deviations.NoteTyp(h.typ, h.hasTyp, Type)
	if p.flattened && p.KIDs[0] == "" {
		p.KIDs[0] = string(h.kid)
	}
	if slices.Contains(p.KIDs, "") {
		if err := p.Refuse("kid-missing", fmt.Errorf("%w: a recipient has no kid", jose.ErrMalformed)); err != nil {
			return err
		}
	}
	if err := p.parties(&h); err != nil {
		return err
	}
	return p.commonEPK(h.epk)
}

// structure checks that the JWE has all members that it needs.
func (p *parser) structure() error {
	switch {
	case p.general && p.flattened:
		return fmt.Errorf("%w: both recipients and a top-level header or encrypted_key", jose.ErrMalformed)
	case p.flattened:
		if p.limits.MaxRecipients < 1 {
			return ErrTooManyRecipients
		}
		p.Deviations.Note(jose.DevSerialization, "flattened")
		p.recipients = []recipient{p.single}
		p.KIDs = []string{p.singleKID}
	case len(p.recipients) == 0:
		if err := p.Refuse("recipients-missing", fmt.Errorf("%w: no recipients", jose.ErrMalformed)); err != nil {
			return err
		}
	}
	if p.members != 3 || len(p.protected) == 0 {
		err := fmt.Errorf("%w: protected, iv, ciphertext or tag is missing", jose.ErrMalformed)
		if err := p.Refuse("jwe-incomplete", err); err != nil {
			return err
		}
	}
	p.Deviations.NotePadding(p.ciphertext)
	for _, r := range p.recipients {
		p.Deviations.NotePadding(r.encryptedKey)
	}
	return nil
}

func (p *parser) algorithms() error {
	if p.Alg != AlgES && p.Alg != Alg1PU {
		if err := p.Refuse("alg-unsupported", fmt.Errorf("%w: alg %.200q", jose.ErrUnsupportedAlg, p.Alg)); err != nil {
			return err
		}
	}
	_, iv, tag, ok := p.Enc.sizes()
	if !ok {
		return p.Refuse("enc-unsupported", fmt.Errorf("%w: enc %.200q", jose.ErrUnsupportedAlg, p.Enc))
	}
	if p.Alg == Alg1PU && p.Enc != A256CBCHS512 {
		err := fmt.Errorf("%w: enc %.200q with %s, which draft-03 had and draft-04 has not: section 2.1 demands %s", jose.ErrUnsupportedAlg, p.Enc, p.Alg, A256CBCHS512)
		if err := p.Refuse("authcrypt-enc", err); err != nil {
			return err
		}
	}
	if len(p.iv) != iv || len(p.tag) != tag {
		return p.Refuse("iv-tag-size", fmt.Errorf("%w: iv or tag of the wrong size for %s", jose.ErrMalformed, p.Enc))
	}
	return nil
}

// parties checks apu and apv, and finds the sender.
func (p *parser) parties(h *header) error {
	p.apu, p.apv = h.apu, h.apv
	if p.Alg == Alg1PU {
		var err error
		switch {
		case !h.hasSKID && !h.hasAPU:
			err = p.Refuse("sender-missing", fmt.Errorf("%w: neither skid nor apu names the sender", jose.ErrMalformed))
		case !h.hasSKID:
			p.Deviations.Note(DevSKIDMissing, "sender taken from apu")
			p.SKID = string(h.apu)
		case !h.hasAPU:
			p.Deviations.Note(DevAPUMissing, "apu is missing")
			p.SKID = string(h.skid)
		case !bytes.Equal(h.skid, h.apu):
			p.SKID = string(h.skid)
			err = p.Refuse("sender-conflict", fmt.Errorf("%w: apu and skid", jose.ErrHeaderConflict))
		default:
			p.SKID = string(h.skid)
		}
		if err != nil {
			return err
		}
	}
	if !h.hasAPV {
		p.Deviations.Note(DevAPVMissing, "apv is missing")
		return nil
	}
	if !bytes.Equal(APV(p.KIDs), h.apv) {
		p.Deviations.Note(DevAPVMismatch, "apv is not the hash of the sorted kids")
	}
	return nil
}

// APV returns the bytes that apv encodes for the kids of the recipients, in any order.
func APV(kids []string) []byte {
	sorted := make([]Recipient, len(kids))
	for i, kid := range kids {
		sorted[i].KID = kid
	}
	slices.SortFunc(sorted, func(a, b Recipient) int { return strings.Compare(a.KID, b.KID) })
	sum := kidsHash(sorted)
	return sum[:]
}

// commonEPK reads the protected epk, or checks that each recipient has one.
func (p *parser) commonEPK(text []byte) (err error) {
	for _, r := range p.recipients {
		switch {
		case text == nil && r.epk == nil:
			err = p.Refuse("epk-missing", fmt.Errorf("%w: epk is missing", jose.ErrMalformed))
		case text != nil && r.epk != nil:
			err = p.Refuse("epk-conflict", fmt.Errorf("%w: epk both protected and in a recipient's header", jose.ErrHeaderConflict))
		}
		if err != nil {
			return err
		}
	}
	if text != nil {
		if p.epk, err = p.parseEPK(text); err != nil {
			err = p.Refuse("epk-invalid", err)
		}
	}
	return err
}

func decodeNext(c jose.Cursor, name string, dev *jose.Deviations) ([]byte, error) {
	text, err := c.Text()
	if err != nil {
		return nil, err
	}
	return dev.Decode(name, text)
}

// decodeInto decodes base64url into dst. It is an error if the result does not fit.
func decodeInto(dst, text []byte) (int, error) {
	text = jose.TrimPadding(text)
	if b64.DecodedLen(len(text)) > len(dst) {
		return 0, base64.CorruptInputError(len(text))
	}
	return b64.Decode(dst, text)
}
