package keyring

import (
	"context"
	"fmt"
)

// Refresh reads the keys that other processes have added to the store since the Sealed was
// opened or refreshed. It needs no Wrapper, also if another process has rewrapped the Sealed
// meanwhile. Keys that were deleted stay in the keyring.
//
// The error matches ErrInvalid, with the key id, if a new key is damaged, belongs to another
// keyring, or was moved to another key id; the keys before that are in the keyring then. Other
// errors are those of the store.
func (s *Sealed) Refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.keys.All(ctx)
	if err != nil {
		return fmt.Errorf("refresh keyring: %w", err)
	}
	for _, stored := range all {
		if _, err := s.ring.Key(stored.KID); err == nil {
			continue
		}
		key, err := s.unseal(stored)
		if err == nil {
			err = s.ring.Add(stored.KID, key)
		}
		if err != nil {
			return fmt.Errorf("refresh keyring: key %s: %w", clip(stored.KID), err)
		}
	}
	return nil
}
