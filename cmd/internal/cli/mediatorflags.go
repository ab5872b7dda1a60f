package cli

import (
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/spf13/cobra"
)

// addMediatorFlags adds the flags of a mediator.
func addMediatorFlags(cmd *cobra.Command, c *server.MediatorConfig) {
	f := cmd.Flags()
	f.BoolVar(&c.On, "mediator", false, "be a mediator: keep the mail of agents that have enrolled until they collect it")
	f.BoolVar(&c.EnrollInvited, "enroll-invited", false, "let agents enroll that answer an invitation of didcomm mediator invite (default: all may enroll)")
	f.StringVar(&c.EnrollList, "enroll-list", "", "file with DIDs that may enroll, one a line; changes of the file count at once (default: all may enroll)")
	f.StringSliceVar(&c.NextHops, "next-hop", nil, "DID, besides those of accounts, to which forwards are handed on; can be repeated")
	f.IntVar(&c.MaxAccounts, "max-accounts", 1_000_000, "accounts that may enroll")
	f.DurationVar(&c.MaxAge, "mail-age", 30*24*time.Hour, "how long mail waits until it is collected")
	f.IntVar(&c.BoxMessages, "mailbox-messages", 10_000, "messages that may wait for one device of an account")
	f.Int64Var(&c.BoxBytes, "mailbox-bytes", 256<<20, "bytes of messages that may wait for one device of an account")
	f.IntVar(&c.PairMessages, "pair-messages", 1000, "messages of one sender that may wait for one device; all anonymous senders are one sender")
	f.Int64Var(&c.PairBytes, "pair-bytes", 64<<20, "bytes of messages of one sender that may wait for one device")
	f.IntVar(&c.SenderMessages, "sender-messages", 100_000, "messages of one sender that may wait for all recipients")
	f.Int64Var(&c.SenderBytes, "sender-bytes", 4<<30, "bytes of messages of one sender that may wait for all recipients")
}
