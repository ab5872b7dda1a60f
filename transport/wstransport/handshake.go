package wstransport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/endpoint"
)

// handshake opens a connection within HandshakeTimeout.
func (c *Client) handshake(to, url string) (*websocket.Conn, *transport.SendError) {
	ctx, cancel := context.WithTimeout(c.closing, c.cfg.HandshakeTimeout)
	defer cancel()
	// The dialer only uses the deadline of ctx. So that Close can end a handshake, the end
	// of ctx closes the connection until keep is called.
	keep := func() bool { return true }
	var bounded *handshakeConn
	dialer := websocket.Dialer{
		NetDialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			nc, err := c.cfg.Dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			keep = context.AfterFunc(ctx, func() { nc.Close() })
			bounded = &handshakeConn{Conn: nc, left: maxHandshakeBytes}
			return bounded, nil
		},
		TLSClientConfig: c.tls,
		ReadBufferSize:  readBufferSize,
		WriteBufferSize: clientWriteBufferSize,
		WriteBufferPool: c.buffers,
	}
	ws, resp, err := dialer.DialContext(ctx, url, http.Header{"User-Agent": {"didcomm-go"}})
	if bounded != nil {
		bounded.left = -1
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		keep()
		return nil, endpoint.Status(to, resp, time.Now())
	case err != nil:
		keep()
		return nil, endpoint.Network(to, err)
	case !keep():
		ws.Close()
		return nil, endpoint.Network(to, context.Cause(ctx))
	}
	return ws, nil
}

// maxHandshakeBytes limits what a server may send before the WebSocket is open,
// including its TLS handshake.
const maxHandshakeBytes = 256 << 10

// handshakeConn limits the bytes that are read, because the dialer reads a header of any
// length.
type handshakeConn struct {
	net.Conn
	left int // bytes, negative for no limit; owned by the handshake, then by the reader
}

// NetConn returns the connection below, as that of a tls.Conn does.
func (c *handshakeConn) NetConn() net.Conn { return c.Conn }

func (c *handshakeConn) Read(b []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(b)
	}
	if c.left == 0 {
		return 0, fmt.Errorf("handshake of more than %d bytes", maxHandshakeBytes)
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}
