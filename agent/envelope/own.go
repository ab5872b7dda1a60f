package envelope

import "context"

// Own returns the DID of ours that id, a DID or DID URL, names in any of its forms, in the
// form that resolves. The error matches [ErrNoKey] if id names none of ours, or if Keys
// does not tell (see [Owner]); any other error is a failure of the store behind Keys.
func (p *Packer) Own(ctx context.Context, id string) (_ string, err error) {
	defer classify(&err)
	if p.owner == nil {
		return "", ErrNoKey
	}
	return p.own(ctx, id)
}
