package home_test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// The DID of a mediator has the form that all clients of mediators read: the X25519 key, the
// Ed25519 key of which that is the image, and a service for each endpoint in order.
func TestMediatorDID(t *testing.T) {
	ctx, cfg := t.Context(), home.Config{Dir: t.TempDir()}
	open := func() *home.Home {
		h, err := home.OpenToServe(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	endpoints := []string{"http://127.0.0.1:8080", "ws://127.0.0.1:8080"}
	h := open()
	before, _, err := h.Serve(ctx, "", endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	now, former, err := h.ServeMediator(ctx, "", endpoints...)
	if err != nil || former != before {
		t.Fatalf("former DID %q, %v", former, err)
	}
	form := regexp.MustCompile(`^did:peer:2\.E(z6LS\w+)\.V(z6Mk\w+)\.S([\w-]+)\.S([\w-]+)$`).FindStringSubmatch(now)
	if form == nil {
		t.Fatalf("DID %s", now)
	}
	for i, uri := range endpoints {
		got, err := base64.RawURLEncoding.DecodeString(form[3+i])
		want := `{"t":"dm","s":{"uri":"` + uri + `","a":["didcomm/v2"]}}`
		if err != nil || string(got) != want {
			t.Errorf("service %s, %v; want %s", got, err, want)
		}
	}
	if doc, err := (didkey.Resolver{}).Resolve(ctx, "did:key:"+form[2]); err != nil || !strings.HasSuffix(doc.KeyAgreement[0].ID, "#"+form[1]) {
		t.Errorf("%s is not the image of %s: %v, %v", form[1], form[2], doc, err)
	}
	doc, err := didpeer.NewResolver().Resolve(ctx, now)
	if err != nil || doc.KeyAgreement[0].ID != now+"#key-1" || doc.Authentication[0].ID != now+"#key-2" {
		t.Errorf("keys %v and %v, %v", doc.KeyAgreement, doc.Authentication, err)
	}

	// The home answers for both DIDs, and keeps the keys.
	for _, id := range []string{before, now} {
		if _, err := h.Set.Own(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if _, err := h.Set.KeyAgreement(ctx, now+"#key-1"); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = open()
	defer h.Close()
	if again, former, err := h.ServeMediator(ctx, "", endpoints...); again != now || former != "" || err != nil {
		t.Errorf("after a restart: %s, before %q, %v", again, former, err)
	}
	if n := len(h.Ring.KIDs()); n != 4 {
		t.Errorf("%d keys", n)
	}
}

// A mediator may have a did:web, with the same keys.
func TestMediatorWeb(t *testing.T) {
	ctx := t.Context()
	h, err := home.Open(ctx, home.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	const id = "did:web:mediator.example"
	if _, _, err := h.ServeMediator(ctx, id, "https://mediator.example", "wss://mediator.example"); err != nil {
		t.Fatal(err)
	}
	doc, err := h.Set.Resolve(ctx, id)
	if err != nil || len(doc.Service) != 2 || doc.Service[1].Endpoints[0].URI != "wss://mediator.example" {
		t.Errorf("%v, %v", doc, err)
	}
}
