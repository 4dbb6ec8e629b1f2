package hub

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

const kindRules = "rules" // "": SHA-256 of the rules that fitted the tables last

// accept refuses rules that do not fit the tables, unless they once did: then
// somebody changed the tables, and the hub serves what it can.
func (h *Hub) accept(ctx context.Context, s *shape) error {
	var faults []error
	for _, t := range s.tables {
		if t.closed != "" {
			faults = append(faults, fmt.Errorf("table %s: %s", t.schema.Name, t.closed))
		}
	}
	b, err := json.Marshal(s.rules)
	if err != nil {
		return fmt.Errorf("name the rules: %w", err)
	}
	now := change.Hash(sha256.Sum256(b))
	var was change.Hash
	err = h.store.View(ctx, func(v View) error {
		err := readRecord(v, kindRules, "", &was)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("read the rules in force: %w", err)
	case now == was:
		return nil
	case len(faults) > 0:
		return errors.Join(faults...)
	}
	err = h.store.Update(ctx, func(tx Tx) error { return writeRecord(tx, kindRules, "", now) })
	if err != nil {
		return fmt.Errorf("note the rules in force: %w", err)
	}
	return nil
}
