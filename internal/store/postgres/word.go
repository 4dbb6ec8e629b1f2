package postgresstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// Processes that serve one database tell one another what the change log does not
// show: a device that was revoked, a life that began. A word goes to those who listen
// at the moment; who connects anew hears that anything may have been said.

const wordChannel = "tidemark_word"

// Tell lets the other processes hear words of at most 7000 bytes, without a colon.
func (s *Store) Tell(ctx context.Context, words []string) error {
	c, err := s.pool.borrow(ctx)
	if err != nil {
		return err
	}
	defer s.pool.giveBack(c)
	for i, w := range words {
		words[i] = s.me + ":" + w
	}
	if _, err := exec(ctx, c, "SELECT pg_notify('"+wordChannel+"', w) FROM unnest($1::text[]) AS w", words); err != nil {
		return fmt.Errorf("tell the other processes: %w", err)
	}
	return nil
}

// heard hands on what another process told; "" is that anything may have been told.
func (s *Store) heard(payload string) {
	if s.cfg.Heard == nil {
		return
	}
	who, word, _ := strings.Cut(payload, ":")
	if who != s.me {
		s.cfg.Heard(word)
	}
}

// drawName gives the process a name among those that serve the database.
func (s *Store) drawName() error {
	var b [8]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		return fmt.Errorf("draw a name for the process: %w", err)
	}
	s.me = hex.EncodeToString(b[:])
	return nil
}
