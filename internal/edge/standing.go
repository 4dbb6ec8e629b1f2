package edge

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// stand records how far the file has come. It must run inside the transaction that
// brought it there.
func (e *Engine) stand(at change.Cursor, mark uint64, now time.Time) error {
	if err := e.setMeta(metaCursor, change.Text(at.String())); err != nil {
		return err
	}
	if err := e.setMeta(metaMark, change.Int(int64(mark))); err != nil {
		return err
	}
	return e.setMeta(metaProgress, change.Int(now.UnixMilli()))
}

// setScopes records of which scopes the file holds the rows, and the rights over
// them, like stand.
func (e *Engine) setScopes(grants []rule.Grant, scopes change.Hash) error {
	if err := e.setGrants(grants); err != nil {
		return err
	}
	return e.setMeta(metaScopes, change.Text(scopes.String()))
}

// setGrants records the rights over the rows that the file holds.
func (e *Engine) setGrants(grants []rule.Grant) error {
	body, err := json.Marshal(grants)
	if err != nil {
		return fmt.Errorf("encode grants: %w", err)
	}
	return e.setMeta(metaGrants, change.Text(string(body)))
}
