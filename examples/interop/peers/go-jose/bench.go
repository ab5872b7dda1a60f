//go:build interop

package main

import (
	"syscall"

	"github.com/go-jose/go-jose/v4"
)

// bench packs, or opens the envelope that is given, many times over, with all
// else read once.
func bench(p params) (any, error) {
	operation, err := p.operation()
	if err != nil {
		return nil, err
	}
	began, err := processorTime()
	if err != nil {
		return nil, err
	}
	for range p.Times {
		if err := operation(); err != nil {
			return nil, err
		}
	}
	ended, err := processorTime()
	return map[string]int64{"nanoseconds": ended - began}, err
}

func (p params) operation() (func() error, error) {
	if p.Envelope == nil {
		k, err := p.packer()
		return func() error {
			_, err := k.pack(p.Message)
			return err
		}, err
	}
	o, err := p.opener()
	return func() error { return o.open(string(p.Envelope)) }, err
}

// opener has the keys of an envelope that is known beforehand; either may be nil.
type opener struct{ decrypt, verify any }

func (p params) opener() (o opener, err error) {
	if p.To != "" {
		doc, err := p.document(p.To)
		if err != nil {
			return o, err
		}
		key, err := p.secret(doc.KeyAgreement[0])
		if err != nil {
			return o, err
		}
		o.decrypt = key.Key
	}
	if p.SignBy != "" {
		doc, err := p.document(p.SignBy)
		if err != nil {
			return o, err
		}
		key, err := doc.public(doc.Authentication, p.SignBy)
		if err != nil {
			return o, err
		}
		o.verify = key.Key
	}
	return o, nil
}

func (o opener) open(text string) error {
	if o.decrypt != nil {
		encrypted, err := jose.ParseEncryptedJSON(text, wraps, encs)
		if err != nil {
			return err
		}
		_, _, plaintext, err := encrypted.DecryptMulti(o.decrypt)
		if err != nil {
			return err
		}
		text = string(plaintext)
	}
	if o.verify == nil {
		return nil
	}
	signed, err := jose.ParseSignedJSON(text, signatures)
	if err != nil {
		return err
	}
	_, err = signed.Verify(o.verify)
	return err
}

// processorTime is what this process has taken of the processors, the garbage
// collector's part included, in nanoseconds.
func processorTime() (int64, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano(), err
}
