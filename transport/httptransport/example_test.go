package httptransport_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// One URL for both POST and WebSocket, on any router.
func ExampleNewHandler() {
	// This Handler returns each packet to its sender. In an agent, use agent.Agent.
	var handler transport.HandlerFunc = func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		return w.Reply(ctx, p)
	}
	ws := wstransport.NewServer(handler, wstransport.ServerConfig{})
	defer ws.Close(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/didcomm", httptransport.NewHandler(handler, httptransport.HandlerConfig{WebSocket: ws}))
	// Outside of tests, use httptransport.NewServer(mux) and set its Addr.
	srv := httptest.NewServer(mux)
	defer srv.Close()

	// Outside of tests, use the zero Guard, which refuses loopback addresses.
	guard := &netguard.Guard{AllowLoopback: true}
	client, err := httptransport.NewClient(httptransport.ClientConfig{Dial: guard.DialContext})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.Bind(transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
		fmt.Println(p.MediaType, string(p.Data))
		return nil
	}))
	err = client.Send(context.Background(), srv.URL+"/didcomm", transport.Packet{
		MediaType: transport.MediaTypePlain,
		Data:      []byte(`{"id":"1","type":"https://didcomm.org/empty/1.0/empty"}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: application/didcomm-plain+json {"id":"1","type":"https://didcomm.org/empty/1.0/empty"}
}
