package ledger

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// maxDigests bounds the cache of digests: about 4 KB each.
const maxDigests = 512

// Digests remembers digests by table and scopes, with the cursor they were taken at: a
// digest holds as long as that cursor does and the table was not touched in the scopes
// since. The zero one is empty. It may be used concurrently.
type Digests struct {
	mu   sync.Mutex
	list map[digestKey]digestAt
}

type digestKey struct {
	epoch  change.Epoch
	schema change.SchemaHash
	table  string
	scopes string
}

type digestAt struct {
	at  change.Cursor
	sum change.Digest
}

// A Digesting is how a store takes the digest of a table's rows in some scopes.
type Digesting struct {
	Table  string
	Schema change.SchemaHash
	Scopes []rule.ScopeID // those that the table's rows can be in, see Scope.Relevant
	At     func() (change.Cursor, error)
	// Untouched reports that a cursor belongs to the snapshot's past, and that no row was
	// touched in the scopes since.
	Untouched func(change.Cursor, []rule.ScopeID) (bool, error)
	Take      func([]rule.ScopeID) (change.Digest, error)
	Forget    bool // do not remember what is taken now
}

// Digest is the one that is remembered, if it still holds, or a new one.
func (d *Digests) Digest(q *Digesting) (change.Digest, error) {
	scopes := slices.Sorted(slices.Values(q.Scopes))
	if len(scopes) == 0 {
		return change.Digest{Table: q.Table}, nil
	}
	at, err := q.At()
	if err != nil {
		return change.Digest{}, err
	}
	k := digestKey{epoch: at.Epoch, schema: q.Schema, table: q.Table, scopes: ScopeList(scopes)}
	if old, ok := d.get(k); ok {
		holds, err := q.Untouched(old.at, scopes)
		if err != nil {
			return change.Digest{}, fmt.Errorf("digest of %s: %w", q.Table, err)
		}
		if holds {
			return old.sum, nil
		}
	}
	sum, err := q.Take(scopes)
	if err != nil {
		return change.Digest{}, fmt.Errorf("digest of %s: %w", q.Table, err)
	}
	if !q.Forget {
		d.put(k, digestAt{at, sum})
	}
	return sum, nil
}

func (d *Digests) get(k digestKey) (digestAt, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.list[k]
	return a, ok
}

func (d *Digests) put(k digestKey, a digestAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.list == nil || len(d.list) >= maxDigests {
		d.list = map[digestKey]digestAt{}
	}
	d.list[k] = a
}

// ScopeList names a set of scopes, which are in order: other sets have other names.
func ScopeList(scopes []rule.ScopeID) string {
	var b strings.Builder
	for _, s := range scopes {
		fmt.Fprintf(&b, "%d:%s", len(s), s)
	}
	return b.String()
}
