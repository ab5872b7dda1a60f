// Command didcomm is a DIDComm Messaging v2.1 agent and the tool to talk to
// one: it makes and resolves DIDs, packs, unpacks and inspects messages, serves
// an agent, and pings or messages another. Run didcomm --help first.
package main

import (
	"os"

	"github.com/didcomm-go/didcomm/cmd/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.IO{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv}))
}
