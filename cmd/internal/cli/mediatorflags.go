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
	f.BoolVar(&c.EnrollInvited, "enroll-invited", false, "let only agents enroll that answer an invitation of didcomm mediator invite, or that --enroll-list has")
	f.StringVar(&c.EnrollList, "enroll-list", "", "let only the DIDs in this file enroll, one a line, or those that --enroll-invited lets in; changes of the file count at once")
	f.StringSliceVar(&c.NextHops, "next-hop", nil, "DID, besides those of accounts, to which forwards are handed on; can be repeated")
	f.IntVar(&c.MaxAccounts, "max-accounts", 1_000_000, "accounts that may enroll")
	f.IntVar(&c.MaxMessages, "max-mail", 10_000_000, "messages that may wait for all accounts")
	f.Int64Var(&c.MaxBytes, "max-mail-bytes", 64<<30, "bytes of messages that may wait for all accounts")
	f.DurationVar(&c.MaxAge, "mail-age", 30*24*time.Hour, "how long mail waits until it is collected")
	f.IntVar(&c.BoxMessages, "mailbox-messages", 10_000, "messages that may wait for one device of an account")
	f.Int64Var(&c.BoxBytes, "mailbox-bytes", 256<<20, "bytes of messages that may wait for one device of an account")
	f.IntVar(&c.PairMessages, "pair-messages", 1000, "messages of one sender that may wait for one device; all anonymous senders are one sender")
	f.Int64Var(&c.PairBytes, "pair-bytes", 64<<20, "bytes of messages of one sender that may wait for one device")
	f.IntVar(&c.SenderMessages, "sender-messages", 100_000, "messages of one sender that may wait for all recipients")
	f.Int64Var(&c.SenderBytes, "sender-bytes", 4<<30, "bytes of messages of one sender that may wait for all recipients")
	f.IntVar(&c.ForwardsOfAddress, "forwards-per-address", 6000, "forwards per minute from one address; 0 is no limit")
	f.IntVar(&c.ForwardsOfSender, "forwards-per-sender", 3000, "forwards per minute of one sender who says who it is; 0 is no limit")
	f.IntVar(&c.Enrolments, "enrolments-per-hour", 6000, "requests to enroll per hour; 0 is no limit")
	f.IntVar(&c.EnrolmentsOfAddress, "enrolments-per-address", 60, "requests to enroll per hour from one address; 0 is no limit")
}
