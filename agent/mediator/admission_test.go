package mediator_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
)

func TestAdmission(t *testing.T) {
	token := func(_ context.Context, id, token string) error {
		if token == "of "+id {
			return nil
		}
		return errors.New("another token")
	}
	long, short := pair4(t)
	for _, tt := range []struct {
		name      string
		admission mediator.Admission
		id, token string
		want      error
	}{
		{"open", mediator.Admission{}, alice, "", nil},
		{"in the list", mediator.Admission{Allow: []string{alice}}, alice, "", nil},
		{"in the list, other form", mediator.Admission{Allow: []string{short}}, long, "", nil},
		{"not in the list", mediator.Admission{Allow: []string{alice}}, bob, "", mediator.ErrDenied},
		{"empty list", mediator.Admission{Allow: []string{}}, bob, "", mediator.ErrDenied},
		{"token", mediator.Admission{Token: token}, alice, "of " + alice, nil},
		{"wrong token", mediator.Admission{Token: token}, alice, "of " + bob, mediator.ErrDenied},
		{"no token", mediator.Admission{Token: token}, alice, "", mediator.ErrDenied},
		{"no token, in the list", mediator.Admission{Token: token, Allow: []string{alice}}, alice, "", nil},
		{"tokens of ours", mediator.Admission{Tokens: true}, alice, "", mediator.ErrDenied},
		{"wrong token of ours", mediator.Admission{Tokens: true}, alice, "token", mediator.ErrDenied},
		{"our DID", mediator.Admission{}, routing + "#key-1", "", mediator.ErrRecipient},
		{"no DID", mediator.Admission{}, "alice", "", mediator.ErrRecipient},
	} {
		n := newNode(t, memory(), func(c *mediator.Config) { c.Admission = tt.admission })
		for range 2 {
			wantErr(t, tt.name, errOf(n.Enroll(t.Context(), tt.id, tt.token)), tt.want)
		}
	}
}

// A token is used up by its last use, also where several enroll at a time.
func TestTokens(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx := t.Context()
		n := newNode(t, b, func(c *mediator.Config) { c.Admission.Tokens = true })
		token, err := n.NewToken(ctx, 3, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error)
		for i := range 8 {
			go func() { results <- errOf(n.Enroll(ctx, fmt.Sprintf("did:example:%d", i), token)) }()
		}
		enrolled := 0
		for range 8 {
			switch err := <-results; {
			case err == nil:
				enrolled++
			case !errors.Is(err, mediator.ErrDenied):
				t.Error(err)
			}
		}
		if enrolled != 3 {
			t.Errorf("%d enrolled, want 3", enrolled)
		}
		if token, err = n.NewToken(ctx, 1, time.Time{}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := n.RevokeToken(ctx, token); err != nil {
				t.Error(err)
			}
		}
		wantErr(t, "revoked", errOf(n.Enroll(ctx, alice, token)), mediator.ErrDenied)
	})
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, memory(), func(c *mediator.Config) { c.Admission.Tokens = true })
		token, err := n.NewToken(t.Context(), 5, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, "fresh", errOf(n.Enroll(t.Context(), alice, token)), nil)
		time.Sleep(time.Hour)
		wantErr(t, "expired", errOf(n.Enroll(t.Context(), bob, token)), mediator.ErrDenied)
	})
}
