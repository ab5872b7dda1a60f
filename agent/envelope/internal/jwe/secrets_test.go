package jwe_test

import (
	"bytes"
	"crypto/ecdh"
	"fmt"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
)

// counting is a key handle that counts its key agreements.
type counting struct {
	ecdh.KeyExchanger
	n int
}

func (c *counting) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	c.n++
	return c.KeyExchanger.ECDH(remote)
}

// TestSecrets sends between pairs of keys, and counts what each side agrees on.
func TestSecrets(t *testing.T) {
	for _, c := range []ecdh.Curve{ecdh.X25519(), ecdh.P256(), ecdh.P384(), ecdh.P521()} {
		for _, tt := range []struct {
			max            int
			rounds         []int // which recipient each message is for
			wantA, wantAll int   // the sender's agreements, the recipients'
		}{
			{0, []int{0, 0, 0}, 3, 6}, // nothing kept
			{2, []int{0, 0, 0}, 1, 4}, // one kept
			{2, []int{0, 1, 0, 1}, 2, 6},
			{1, []int{0, 1, 0, 1}, 4, 8}, // each pushes the other out
		} {
			t.Run(fmt.Sprintf("%v %d %v", c, tt.max, tt.rounds), func(t *testing.T) {
				from := newParty(t, "did:example:a#1", c)
				sender := &counting{KeyExchanger: from.key}
				to := []party{newParty(t, "did:example:b#1", c), newParty(t, "did:example:b#2", c)}
				keys := []*counting{{KeyExchanger: to[0].key}, {KeyExchanger: to[1].key}}
				ours, theirs := jwe.NewSecrets(tt.max), jwe.NewSecrets(tt.max)
				for i, r := range tt.rounds {
					plaintext := []byte{byte(i)}
					data, err := jwe.Encrypt(plaintext, jwe.Params{
						Enc: jwe.A256CBCHS512, SKID: from.kid, Sender: sender, Secrets: ours,
						Recipients: []jwe.Recipient{{KID: to[r].kid, Key: to[r].key.PublicKey()}},
					})
					if err != nil {
						t.Fatal(err)
					}
					e, err := jwe.Parse(data, limits)
					if err != nil {
						t.Fatal(err)
					}
					got, err := e.Decrypt(0, keys[r], from.key.PublicKey(), theirs)
					if err != nil || !bytes.Equal(got, plaintext) {
						t.Fatalf("message %d: %q, %v", i, got, err)
					}
				}
				if n := keys[0].n + keys[1].n; sender.n != tt.wantA || n != tt.wantAll {
					t.Errorf("%d and %d agreements, want %d and %d", sender.n, n, tt.wantA, tt.wantAll)
				}
			})
		}
	}
}
