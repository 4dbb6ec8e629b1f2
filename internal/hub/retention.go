package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// DefaultKeep is how long the change log, the last images of deleted rows and the
// journal are kept. A device that stays away longer bootstraps anew and keeps its
// outbox; its conflicts are then found by comparing values (trap D21).
const DefaultKeep = 30 * 24 * time.Hour

// Retain lets go of what is older than keep (0: DefaultKeep) and returns the new
// floor of the log. Receipts and expired join tokens of that age go too;
// quarantined transactions never do.
func (h *Hub) Retain(ctx context.Context, keep time.Duration) (floor change.Cursor, err error) {
	if keep <= 0 {
		keep = DefaultKeep
	}
	before := h.clock.Now().Add(-keep)
	if floor, err = h.store.Prune(ctx, before); err != nil {
		return floor, fmt.Errorf("prune the log: %w", err)
	}
	err = h.store.Update(ctx, func(tx Tx) error {
		if err := dropReceipts(tx, before); err != nil {
			return err
		}
		if err := dropTraces(tx, before); err != nil {
			return err
		}
		return dropRecords(tx, kindInvite, func(body []byte) (bool, error) {
			var i invite
			err := json.Unmarshal(body, &i)
			return i.Expires.Before(before), err
		})
	})
	if err != nil {
		return floor, fmt.Errorf("drop old records: %w", err)
	}
	h.log.Info("history pruned", "before", before.UTC(), "floor", floor.String())
	return floor, nil
}

// dropReceipts removes old receipts, and what marks them as open.
func dropReceipts(tx Tx, before time.Time) error {
	var gone []string
	err := dropRecords(tx, kindReceipt, func(body []byte) (bool, error) {
		r, err := decodeReceipt("", body)
		if err != nil || !r.At.Before(before) {
			return false, err
		}
		gone = append(gone, r.ID)
		return true, nil
	})
	for _, id := range gone {
		if err == nil {
			err = tx.PutRecord(kindOpen, id, nil)
		}
	}
	return err
}

// dropRecords removes the records of a kind that old says are old.
func dropRecords(tx Tx, kind string, old func(body []byte) (bool, error)) error {
	var ids []string
	err := eachRecord(tx, kind, "", func(id string, body []byte) error {
		yes, err := old(body)
		if err != nil {
			return fmt.Errorf("decode %s record %s: %w", kind, id, err)
		}
		if yes {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := tx.PutRecord(kind, id, nil); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("remove %s record %s: %w", kind, id, err)
		}
	}
	return nil
}
