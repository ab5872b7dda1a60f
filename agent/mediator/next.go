package mediator

// Next returns the DIDs besides those of accounts to which forwards are handed on, as the
// operator spells them.
func (m *Mediator) Next() []string { return m.cfg.Next }
