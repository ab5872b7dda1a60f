package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/transport"
)

// thief enrolls with a mediator, registers the DIDs of phones there, and asks for mail.
type thief struct{}

// meet looks for mail of others.
func (thief) meet(s *stranger, _ transport.Replier, m *message.Message) {
	for _, att := range m.Attachments {
		data, err := att.Data.Bytes()
		s.w.must(err)
		for _, h := range s.w.honest {
			u, err := s.w.packer(h.keys).Unpack(context.Background(), data)
			if err == nil && s.w.isHonest(s.w.registry.party(u.Message.From)) {
				s.w.must(fmt.Errorf("%s from %s to %s was stolen", u.Message.ID, u.Message.From, h.name))
			}
		}
	}
}

func (thief) step(s *stranger) {
	offices, phones := s.w.offices(), s.w.phones()
	office, phone := offices[s.chance.IntN(len(offices))].did(), phones[s.chance.IntN(len(phones))]
	ids := slices.DeleteFunc(append(phone.all(), "did:example:"+phone.name+"a-0", "did:example:"+phone.name+"b-0"),
		func(id string) bool { return s.w.registry.party(id) == "" })
	id := ids[s.chance.IntN(len(ids))]
	s.request(office, mediation.PIURI3+"/mediate-request", nil)
	time.Sleep(10 * time.Second)
	form := []string{id, id + "#agree", id + "?service=x", id + "#"}[s.chance.IntN(4)]
	var proofs []message.Attachment
	if s.chance.IntN(2) == 0 { // with other keys than those of the DID
		proof, err := mediation.Prove(context.Background(), s.w.packer(s.forgedKeys(id)), id, s.did(), office, time.Now())
		s.w.must(err)
		proofs = append(proofs, proof)
	}
	s.request(office, mediation.PIURI3+"/recipient-update", map[string]any{
		"updates": []mediation.Change{{RecipientDID: form, Action: mediation.Add}},
	}, proofs...)
	time.Sleep(30 * time.Second)
	s.request(office, pickup.PIURI4+"/delivery-request", map[string]any{"message_count_limit": 100})
	s.request(office, pickup.PIURI4+"/delivery-request", map[string]any{"message_count_limit": 100, "recipient_did": id})
}

// request asks a mediator for something.
func (s *stranger) request(office, typ string, body any, attachments ...message.Attachment) {
	m, err := message.New(typ, body)
	s.w.must(err)
	m.From, m.To, m.ReturnRoute, m.Attachments = s.did(), []string{office}, "all", attachments
	s.say(m)
}

// forgedKeys are keys of the stranger under the names of those of a DID.
func (s *stranger) forgedKeys(id string) *keyring.Keyring {
	keys := keyring.New()
	for fragment, curve := range map[string]keyring.Curve{"#agree": keyring.X25519, "#sign": keyring.Ed25519} {
		key, err := keyring.Generate(curve)
		s.w.must(err)
		s.w.must(keys.Add(id+fragment, key))
	}
	return keys
}

// swamper fills the box of one phone.
type swamper struct{}

func (swamper) meet(*stranger, transport.Replier, *message.Message) {}

func (swamper) step(s *stranger) {
	if s.chance.IntN(5) > 0 {
		return
	}
	phone := s.w.phones()[0]
	for range boxShare.Items + 50 {
		s.say(s.message(noteType, phone.did()))
	}
}
