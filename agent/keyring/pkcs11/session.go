//go:build pkcs11

package pkcs11

import (
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"
)

func (t *Token) open() (p11.SessionHandle, error) {
	s, err := t.module.OpenSession(t.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	if err != nil {
		return 0, fmt.Errorf("open a session: %w", err)
	}
	return s, nil
}

// with runs f with a session of its own: a session has one operation at a time.
// Where f fails, what the session is in the middle of is not known, and it is
// closed.
func (t *Token) with(f func(p11.SessionHandle) error) error {
	select {
	case <-t.closed:
		return ErrClosed
	default:
	}
	var s p11.SessionHandle
	select {
	case <-t.closed:
		return ErrClosed
	case s = <-t.sessions:
	}
	defer func() { t.sessions <- s }()
	if s == 0 {
		opened, err := t.open()
		if err != nil {
			return err
		}
		s = opened
	}
	err := f(s)
	if err != nil {
		_ = t.module.CloseSession(s) // it may be gone
		s = 0
	}
	return err
}

// Close waits for the operations under way and closes all sessions. What was lent
// out answers ErrClosed then.
func (t *Token) Close() error {
	var failed error
	t.closing.Do(func() {
		close(t.closed)
		for range cap(t.sessions) {
			if s := <-t.sessions; s != 0 {
				failed = errors.Join(failed, t.module.CloseSession(s))
			}
		}
		failed = errors.Join(failed, t.module.CloseSession(t.login))
	})
	return failed
}

// objects returns the objects that a template matches.
func (t *Token) objects(template ...*p11.Attribute) (found []p11.ObjectHandle, err error) {
	err = t.with(func(s p11.SessionHandle) error {
		if err := t.module.FindObjectsInit(s, template); err != nil {
			return err
		}
		for {
			more, _, err := t.module.FindObjects(s, 100)
			if err != nil {
				return err
			}
			if len(more) == 0 {
				return t.module.FindObjectsFinal(s)
			}
			found = append(found, more...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("search the token: %w", err)
	}
	return found, nil
}

// attributes returns the values of an object's attributes, in the order asked for;
// nil for what it does not have.
func (t *Token) attributes(o p11.ObjectHandle, types ...uint) ([][]byte, error) {
	values := make([][]byte, len(types))
	for i, typ := range types {
		err := t.with(func(s p11.SessionHandle) error {
			got, err := t.module.GetAttributeValue(s, o, []*p11.Attribute{p11.NewAttribute(typ, nil)})
			if errors.Is(err, p11.Error(p11.CKR_ATTRIBUTE_TYPE_INVALID)) {
				return nil
			}
			if err == nil && len(got) == 1 {
				values[i] = got[0].Value
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read an attribute of the token: %w", err)
		}
	}
	return values, nil
}

// labels returns those of the private keys.
func (t *Token) labels() ([]string, error) {
	keys, err := t.objects(p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY))
	if err != nil {
		return nil, err
	}
	labels := make([]string, len(keys))
	for i, o := range keys {
		got, err := t.attributes(o, p11.CKA_LABEL)
		if err != nil {
			return nil, err
		}
		labels[i] = string(got[0])
	}
	return labels, nil
}
