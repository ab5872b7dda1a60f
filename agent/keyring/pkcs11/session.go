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

// with calls f with a session that nobody else uses meanwhile, since a session can run one
// operation at a time. If f fails, with closes the session, which may be in the middle of an
// operation.
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
		_ = t.module.CloseSession(s) // the session may be gone already
		s = 0
	}
	return err
}

// Close waits for running operations and closes all sessions. Later operations of key handles
// return an error that matches ErrClosed. Close can be called more than once.
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

// objects returns the objects that match the template.
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

// attributes returns the values of attributes of an object, in the order of types. The value of
// an attribute that the object does not have is nil.
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

// labels returns the labels of all private keys.
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
