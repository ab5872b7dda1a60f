//go:build pkcs11

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"github.com/didcomm-go/didcomm/agent/keyring"
)

// Mechanisms and key types of PKCS#11 v3.0.
const (
	ckmEdwardsKeyPairGen    = 0x1055
	ckmMontgomeryKeyPairGen = 0x1056
	ckmEdDSA                = 0x1057
	ckkEdwards              = 0x40
	ckkMontgomery           = 0x41
)

// curve is a key type.
type curve struct {
	name          keyring.Curve
	params        [][]byte // possible values of CKA_EC_PARAMS, in DER: an OID, or a name
	size          int      // bytes of a coordinate, and of a shared secret
	agrees, signs bool
	elliptic      elliptic.Curve // nil for X25519 and Ed25519
	ecdh          ecdh.Curve     // nil for Ed25519
}

// RFC 5480, section 2.1.1.1; RFC 8410, section 3; PKCS#11 v3.0, section 2.3.
var curves = []curve{
	{keyring.P256, [][]byte{{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}}, 32, true, true, elliptic.P256(), ecdh.P256()},
	{keyring.P384, [][]byte{{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}}, 48, true, true, elliptic.P384(), ecdh.P384()},
	{keyring.P521, [][]byte{{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}}, 66, true, true, elliptic.P521(), ecdh.P521()},
	{keyring.Ed25519, [][]byte{{0x06, 0x03, 0x2b, 0x65, 0x70}, append([]byte{0x13, 12}, "edwards25519"...)}, 32, false, true, nil, nil},
	{keyring.X25519, [][]byte{{0x06, 0x03, 0x2b, 0x65, 0x6e}, append([]byte{0x13, 10}, "curve25519"...)}, 32, true, false, nil, ecdh.X25519()},
}

func (c *curve) is(params []byte) bool {
	return slices.ContainsFunc(c.params, func(p []byte) bool { return bytes.Equal(p, params) })
}

// public parses a CKA_EC_POINT: the point, with or without an OCTET STRING around it.
func (c *curve) public(value []byte) (crypto.PublicKey, error) {
	point := value
	var octets []byte
	if rest, err := asn1.Unmarshal(value, &octets); err == nil && len(rest) == 0 {
		point = octets
	}
	switch {
	case c.elliptic != nil:
		return ecdsa.ParseUncompressedPublicKey(c.elliptic, point)
	case c.ecdh != nil:
		return c.ecdh.NewPublicKey(point)
	case len(point) != ed25519.PublicKeySize:
		return nil, errors.New("not a public key of Ed25519")
	}
	return ed25519.PublicKey(bytes.Clone(point)), nil
}

// Generate makes a key pair in the token, under a label that no other object of the token has,
// and returns the public key. The private key is sensitive and cannot be extracted. use is
// Agreement, Signatures or both.
//
// The error matches ErrKey if the label is empty or taken, or if keys of this curve cannot be
// used so. Other errors are those of the token, also if the token does not support the curve.
func (t *Token) Generate(label string, name keyring.Curve, use Use) (crypto.PublicKey, error) {
	i := slices.IndexFunc(curves, func(c curve) bool { return c.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w: no key of %.20q is made here", ErrKey, name)
	}
	c := &curves[i]
	if label == "" || use == 0 || use&Agreement != 0 && !c.agrees || use&Signatures != 0 && !c.signs {
		return nil, fmt.Errorf("%w: a key of %s needs a label, and a use that it has", ErrKey, c.name)
	}
	old, err := t.objects(p11.NewAttribute(p11.CKA_LABEL, label))
	if err != nil {
		return nil, err
	}
	if len(old) > 0 {
		return nil, fmt.Errorf("%w: the token has a %.200q already", ErrKey, label)
	}
	mechanism, keyType, err := t.generation(c)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	common := []*p11.Attribute{
		p11.NewAttribute(p11.CKA_KEY_TYPE, keyType),
		p11.NewAttribute(p11.CKA_TOKEN, true),
		p11.NewAttribute(p11.CKA_LABEL, label),
		p11.NewAttribute(p11.CKA_ID, id),
	}
	public := append(slices.Clone(common),
		p11.NewAttribute(p11.CKA_EC_PARAMS, c.params[0]),
		p11.NewAttribute(p11.CKA_VERIFY, use&Signatures != 0),
	)
	private := append(slices.Clone(common),
		p11.NewAttribute(p11.CKA_PRIVATE, true),
		p11.NewAttribute(p11.CKA_SENSITIVE, true),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
		p11.NewAttribute(p11.CKA_DERIVE, use&Agreement != 0),
		p11.NewAttribute(p11.CKA_SIGN, use&Signatures != 0),
	)
	err = t.with(func(s p11.SessionHandle) error {
		_, _, err := t.module.GenerateKeyPair(s, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)}, public, private)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("generate a key of %s: %w", c.name, err)
	}
	return t.Public(label)
}

// generation returns the mechanism that makes keys of a curve, and the key type.
func (t *Token) generation(c *curve) (mechanism, keyType uint, err error) {
	if c.elliptic != nil {
		return p11.CKM_EC_KEY_PAIR_GEN, p11.CKK_EC, nil
	}
	has, err := t.module.GetMechanismList(t.slot)
	if err != nil {
		return 0, 0, fmt.Errorf("list the token's mechanisms: %w", err)
	}
	montgomery := slices.ContainsFunc(has, func(m *p11.Mechanism) bool { return m.Mechanism == ckmMontgomeryKeyPairGen })
	if c.name == keyring.X25519 && montgomery {
		return ckmMontgomeryKeyPairGen, ckkMontgomery, nil
	}
	return ckmEdwardsKeyPairGen, ckkEdwards, nil // SoftHSM uses them for X25519, too
}
