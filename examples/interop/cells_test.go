//go:build interop

package interop_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// mode is a combination of layers.
type mode struct {
	name                string
	sign, anon, auth    bool
	protect             bool // anoncrypt around authcrypt
	encs, curves, signs bool // which choices it has
}

var modes = []mode{
	{name: "plain"},
	{name: "signed", sign: true, signs: true},
	{name: "anoncrypt", anon: true, encs: true, curves: true},
	{name: "authcrypt", auth: true, curves: true},
	{name: "anoncrypt(sign)", anon: true, sign: true, encs: true, curves: true, signs: true},
	{name: "authcrypt(sign)", auth: true, sign: true, curves: true, signs: true},
	{name: "anoncrypt(authcrypt)", auth: true, anon: true, protect: true, encs: true, curves: true},
	{name: "anoncrypt(authcrypt(sign))", auth: true, anon: true, sign: true, protect: true, encs: true, curves: true, signs: true},
}

// keys says how many keys for key agreement the recipient lists and how many of
// them it holds.
type keys struct {
	name         string
	listed, held int
}

// layout is a cell's place in the table.
type layout struct {
	mode
	curve keyring.Curve // "" where nothing is encrypted
	enc   envelope.Enc  // of anoncrypt
	alg   string        // of the signature
	keys  keys
}

// String is the cell's name.
func (l layout) String() string {
	parts := []string{l.name}
	for _, s := range []string{string(l.curve), string(l.enc), l.alg, l.keys.name} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "/")
}

// layouts is the whole table.
func layouts() []layout {
	var all []layout
	for _, m := range modes {
		curves, encs, algs, counts := []keyring.Curve{""}, []envelope.Enc{""}, []string{""}, []keys{{}}
		if m.curves {
			curves = []keyring.Curve{keyring.X25519, keyring.P256, keyring.P384, keyring.P521}
			counts = []keys{{"1 key", 1, 1}, {"3 keys", 3, 3}, {"1 of 3 keys", 3, 1}}
		}
		if m.encs {
			encs = []envelope.Enc{envelope.A256CBCHS512, envelope.A256GCM, envelope.XC20P}
		}
		if m.signs {
			algs = signatures
		}
		for _, curve := range curves {
			for _, enc := range encs {
				for _, alg := range algs {
					for _, k := range counts {
						all = append(all, layout{mode: m, curve: curve, enc: enc, alg: alg, keys: k})
					}
				}
			}
		}
	}
	return all
}

// exchange is one message from a sender to a recipient in a layout.
type exchange struct {
	layout
	sender, recipient *party
	// held is the recipient with the keys that it holds.
	held    *party
	message *message.Message
	// resolver is ours; nil for one that has the parties' documents.
	resolver did.Resolver
}

func newExchange(t testing.TB, l layout) exchange {
	t.Helper()
	curve, n := l.curve, l.keys.listed
	if curve == "" {
		curve, n = keyring.X25519, 1
	}
	x := exchange{layout: l, sender: newParty(t, curve, 1), recipient: newParty(t, curve, n)}
	x.held = x.recipient
	if l.keys.held < l.keys.listed {
		x.held = x.recipient.only(t, x.recipient.agree[l.keys.listed-l.keys.held:]...)
	}
	return x.addressed(t)
}

// addressed gives the exchange its message. Pure anoncrypt has no from.
func (x exchange) addressed(t testing.TB) exchange {
	t.Helper()
	from := x.sender.DID()
	if x.anon && !x.auth && !x.sign {
		from = ""
	}
	x.message = newMessage(t, from, x.recipient.DID())
	return x
}

// metadata is what an opener has to report.
func (x exchange) metadata() envelope.Metadata {
	m := envelope.Metadata{
		Encrypted:       x.anon || x.auth,
		Authenticated:   x.auth || x.sign,
		NonRepudiation:  x.sign,
		AnonymousSender: x.anon,
	}
	if m.Encrypted {
		m.EncryptedToKIDs = x.recipient.agree
	}
	if x.anon {
		m.EncAlgAnon = x.enc
	}
	if x.auth {
		m.EncryptedFromKID, m.EncAlgAuth = x.sender.agree[0], envelope.A256CBCHS512
	}
	if x.sign {
		m.SignFrom, m.SignAlg = x.sender.sign[x.alg], x.alg
	}
	return m
}

// options is how we pack it.
func (x exchange) options() []envelope.PackOption {
	var o []envelope.PackOption
	if x.enc != "" {
		o = append(o, envelope.ContentEncryption(x.enc))
	}
	if x.auth {
		o = append(o, envelope.From(x.sender.DID()))
	}
	if x.protect {
		o = append(o, envelope.ProtectSender())
	}
	if x.sign {
		o = append(o, envelope.SignBy(x.sender.sign[x.alg]))
		if !x.anon && !x.auth {
			o = append(o, envelope.Signed())
		}
	}
	if !x.sign && !x.anon && !x.auth {
		o = append(o, envelope.Plain())
	}
	return o
}

// params is how the peer packs it.
func (x exchange) params(t testing.TB) peer.PackParams {
	t.Helper()
	p := peer.PackParams{
		Known:         known(t, x.sender, x.recipient),
		Message:       plaintext(t, x.message),
		Enc:           x.enc,
		ProtectSender: x.protect,
	}
	if x.anon || x.auth {
		p.To = x.recipient.DID()
	}
	if x.auth {
		p.From = x.sender.DID()
	}
	if x.sign {
		p.SignBy = x.sender.sign[x.alg]
	}
	return p
}

// packer is our side, with own's keys.
func (x exchange) packer(t testing.TB, own *party) *envelope.Packer {
	t.Helper()
	if x.resolver == nil {
		return packer(t, own, x.sender, x.recipient)
	}
	return newPacker(t, own.ring, x.resolver)
}

// pack is our side of a pack.
func (x exchange) pack(t testing.TB) (envelope.Envelope, error) {
	t.Helper()
	envs, err := x.packer(t, x.sender).Pack(t.Context(), x.message, x.options()...)
	if err != nil {
		return envelope.Envelope{}, fmt.Errorf("our pack: %w", err)
	}
	if len(envs) != 1 {
		return envelope.Envelope{}, fmt.Errorf("%d envelopes", len(envs))
	}
	return envs[0], nil
}

// check compares what the peer opened.
func (s *suite) check(t testing.TB, x exchange, got peer.UnpackResult) error {
	t.Helper()
	return s.checkAs(t, x, got, x.metadata())
}

// checkAs is check with the metadata to expect of a peer that reports all.
func (s *suite) checkAs(t testing.TB, x exchange, got peer.UnpackResult, want envelope.Metadata) error {
	t.Helper()
	if s.reports != nil {
		want = s.reports(want)
	}
	return errors.Join(sameMessage(plaintext(t, x.message), got.Message), sameMetadata(want, got.Metadata))
}

// checkOurs compares what we opened: the message, what we report of it, and
// that nothing was tolerated but the peer's quirks and more.
func (s *suite) checkOurs(t testing.TB, x exchange, got *envelope.Unpacked, want envelope.Metadata, more ...message.DeviationCode) error {
	t.Helper()
	for _, d := range got.Metadata.Deviations {
		s.tolerated[d.Code]++
	}
	return errors.Join(
		sameMessage(plaintext(t, x.message), plaintext(t, got.Message)),
		sameMetadata(want, got.Metadata),
		onlyTolerated(got.Metadata.Deviations, slices.Concat(s.quirks, more)))
}

// toPeer packs here and opens there.
func (s *suite) toPeer(t testing.TB, x exchange) error {
	t.Helper()
	env, err := x.pack(t)
	if err != nil {
		return err
	}
	got, err := s.Unpack(t.Context(), peer.UnpackParams{Known: known(t, x.held, x.sender), Envelope: env.Data})
	if err != nil {
		return err
	}
	return s.check(t, x, got)
}

// fromPeer packs there and opens here.
func (s *suite) fromPeer(t testing.TB, x exchange) error {
	t.Helper()
	packed, err := s.Pack(t.Context(), x.params(t))
	if err != nil {
		return err
	}
	got, err := x.packer(t, x.held).Unpack(t.Context(), packed.Envelope)
	if err != nil {
		return fmt.Errorf("our unpack: %w", err)
	}
	return s.checkOurs(t, x, got, x.metadata())
}

// table runs all layouts both ways.
func (s *suite) table(t *testing.T) {
	for _, l := range layouts() {
		s.cell(t, "to peer: "+l.String(), func(t *testing.T) error { return s.toPeer(t, newExchange(t, l)) })
		s.cell(t, "from peer: "+l.String(), func(t *testing.T) error { return s.fromPeer(t, newExchange(t, l)) })
	}
}

// layoutOf is a layout by its parts.
func layoutOf(name string, curve keyring.Curve, enc envelope.Enc, alg string) layout {
	i := slices.IndexFunc(modes, func(m mode) bool { return m.name == name })
	return layout{mode: modes[i], curve: curve, enc: enc, alg: alg, keys: keys{"1 key", 1, 1}}
}

// extra is a layout of the extras, of the peer's base mode if it has one.
func (s *suite) extra(name string, curve keyring.Curve, alg string) layout {
	if s.base != "" {
		return layoutOf(s.base, curve, envelope.A256CBCHS512, "")
	}
	return layoutOf(name, curve, "", alg)
}
