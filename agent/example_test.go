package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/memtransport"
)

// Two agents in one process: Alice pings Bob.
func ExampleStart() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	network := memtransport.NewNetwork() // between processes, use httptransport or wstransport

	start := func(endpoint string) *agent.Agent {
		pair, err := identity.Generate(keyring.Ed25519)
		if err != nil {
			log.Fatal(err)
		}
		id, err := identity.Peer2(pair, endpoint)
		if err != nil {
			log.Fatal(err)
		}
		a, err := agent.Start(ctx, agent.Config{
			DID:      id.DID(),
			Keys:     id,
			Resolver: did.Methods{"peer": didpeer.NewResolver()},
			Handler:  agent.NewMux(trustping.Handle()),
			Senders:  map[string]transport.Sender{memtransport.Scheme: network.Sender()},
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := network.Handle(endpoint, a); err != nil {
			log.Fatal(err)
		}
		return a
	}
	alice, bob := start("mem://alice"), start("mem://bob")

	_, err := trustping.Ping(ctx, alice, bob.DID())
	fmt.Println("ping:", err)
	// Output: ping: <nil>
}

// A protocol of one's own: a message type, and the Handler that answers it.
func ExampleMux() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	network := memtransport.NewNetwork()
	type proposal struct {
		Restaurant string `json:"restaurant"`
	}
	answer := func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		var p proposal
		if err := in.Message.DecodeBody(&p); err != nil {
			return err
		}
		reply, err := message.New("https://example.org/lunch/1.0/answer", map[string]bool{"come": p.Restaurant != ""})
		if err != nil {
			return err
		}
		return w.Reply(ctx, reply)
	}
	lunch := agent.Handle(agent.Protocol{
		PIURI:    "https://example.org/lunch/1.0",
		Roles:    []string{"guest"},
		Messages: map[string]agent.Handler{"https://example.org/lunch/1.0/proposal": agent.HandlerFunc(answer)},
	})
	alice := exampleAgent(ctx, network, "mem://alice", agent.Config{})
	bob := exampleAgent(ctx, network, "mem://bob", agent.Config{Handler: agent.NewMux(lunch)})

	m, err := message.New("https://example.org/lunch/1.0/proposal", proposal{Restaurant: "Chez Paul"})
	if err != nil {
		log.Fatal(err)
	}
	m.To = []string{bob.DID()}
	in, err := alice.Request(ctx, m)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(in.Message.Type, string(in.Message.Body), in.From == bob.DID())
	// Output: https://example.org/lunch/1.0/answer {"come":true} true
}

// A Handler that counts the messages of each peer in a record. The new count, the answer
// and the end of the message become durable together. If another message of the peer
// changes the record first, Commit returns a Retry, and the Handler is called again.
func ExampleResponder() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	network := memtransport.NewNetwork()
	count := func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		r, err := w.Agent().Store().Records().Get(ctx, "example.org/count", in.From)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return agent.Retry(0, err)
		}
		n, _ := strconv.Atoi(string(r.Value)) // 0 for a new record
		r.Collection, r.Key, r.Value = "example.org/count", in.From, []byte(strconv.Itoa(n+1))
		reply, err := message.New("https://example.org/count/1.0/counted", map[string]int{"n": n + 1})
		if err != nil {
			return err
		}
		return w.Commit(ctx, agent.Changes{Put: []store.Record{r}, Send: []*message.Message{reply}})
	}
	alice := exampleAgent(ctx, network, "mem://alice", agent.Config{})
	bob := exampleAgent(ctx, network, "mem://bob", agent.Config{Handler: agent.HandlerFunc(count)})

	ask(ctx, alice, bob.DID()) // a Request that prints the body of its answer
	ask(ctx, alice, bob.DID())
	// Output:
	// {"n":1}
	// {"n":2}
}

// One Agent has two DIDs of ours, each with its own Handler.
func ExamplePerIdentity() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	network := memtransport.NewNetwork()
	st := store.New(store.Config{}) // of sqlstore, to outlive the process
	ring, err := keyring.Create(ctx, store.NewSealedKeys(), keyring.None())
	if err != nil {
		log.Fatal(err)
	}
	set, err := identity.NewSet(ctx, identity.SetConfig{Records: st.Records(), Keys: ring})
	if err != nil {
		log.Fatal(err)
	}
	handlers := make(map[string]agent.Handler)
	tenant := func(name string) string {
		id := exampleIdentity("mem://tenants")
		keys, err := id.Keyring()
		if err == nil {
			err = ring.AddAll(ctx, keys)
		}
		if err == nil {
			err = set.Add(ctx, id, identity.Settings{Party: name})
		}
		if err != nil {
			log.Fatal(err)
		}
		handlers[id.DID()] = answerWith(name)
		return id.DID()
	}
	sales, support := tenant("sales"), tenant("support")
	own := func(own string) agent.Handler { return handlers[own] }
	exampleAgent(ctx, network, "mem://tenants", agent.Config{DID: sales, Keys: set, Shares: set.Shares, Handler: agent.PerIdentity(own)})
	alice := exampleAgent(ctx, network, "mem://alice", agent.Config{})

	ask(ctx, alice, sales)
	ask(ctx, alice, support)
	// Output:
	// {"from":"sales"}
	// {"from":"support"}
}

// A Handler needs a service that is not available yet. It is called again after a second.
func ExampleRetry() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	network := memtransport.NewNetwork()
	handler := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		if w.Attempt() == 1 {
			return agent.Retry(time.Second, errors.New("service not available"))
		}
		return answerWith("bob").HandleMessage(ctx, w, in)
	})
	alice := exampleAgent(ctx, network, "mem://alice", agent.Config{})
	bob := exampleAgent(ctx, network, "mem://bob", agent.Config{Handler: handler})

	ask(ctx, alice, bob.DID())
	// Output: {"from":"bob"}
}

// Send returns when the message is stored. With AwaitDelivery it returns when a transport
// has accepted the message, or when delivery has failed for good.
func ExampleAgent_Send() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	network := memtransport.NewNetwork()
	alice := exampleAgent(ctx, network, "mem://alice", agent.Config{})
	bob := exampleAgent(ctx, network, "mem://bob", agent.Config{Handler: answerWith("bob")})

	m, err := message.New("https://example.org/hello/1.0/hello", nil)
	if err != nil {
		log.Fatal(err)
	}
	m.To = []string{bob.DID()}
	err = alice.Send(ctx, m, agent.AwaitDelivery(), agent.Outcomes(func(o agent.Outcome) { fmt.Println(o.State, "by", o.Way) }))
	fmt.Println(err)

	m.To = []string{exampleIdentity("https://carol.example").DID()} // alice has no Sender for https
	err = alice.Send(ctx, m)
	fmt.Println(errors.Is(err, agent.ErrNoRoute))
	// Output:
	// sent by mem://bob
	// <nil>
	// true
}

// exampleIdentity returns a new did:peer:2.
func exampleIdentity(endpoint string) *identity.Identity {
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	id, err := identity.Peer2(pair, endpoint)
	if err != nil {
		log.Fatal(err)
	}
	return id
}

// exampleAgent starts an Agent at an endpoint of a network, as ExampleStart does.
func exampleAgent(ctx context.Context, network *memtransport.Network, endpoint string, cfg agent.Config) *agent.Agent {
	if cfg.Keys == nil {
		id := exampleIdentity(endpoint)
		cfg.DID, cfg.Keys = id.DID(), id
	}
	cfg.Resolver = did.Methods{"peer": didpeer.NewResolver()}
	cfg.Senders = map[string]transport.Sender{memtransport.Scheme: network.Sender()}
	a, err := agent.Start(ctx, cfg)
	if err == nil {
		err = network.Handle(endpoint, a)
	}
	if err != nil {
		log.Fatal(err)
	}
	return a
}

// answerWith returns a Handler that answers every message with a name.
func answerWith(name string) agent.Handler {
	return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
		m, err := message.New("https://example.org/hello/1.0/answer", map[string]string{"from": name})
		if err != nil {
			return err
		}
		return w.Reply(ctx, m)
	})
}

// ask prints the answer of a peer.
func ask(ctx context.Context, a *agent.Agent, peer string) {
	m, err := message.New("https://example.org/hello/1.0/hello", nil)
	if err != nil {
		log.Fatal(err)
	}
	m.To = []string{peer}
	in, err := a.Request(ctx, m)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(in.Message.Body))
}
