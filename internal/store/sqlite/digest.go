package sqlitestore

import (
	"fmt"
	"slices"
	"sync"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// maxDigests bounds the cache of digests: about 4 KB each.
const maxDigests = 512

// digests remembers digests by table and scopes, with the log entry they were
// taken at: a digest holds as long as that entry is there and the table was not
// touched in the scopes since.
type digests struct {
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

func (d *digests) get(k digestKey) (digestAt, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.list[k]
	return a, ok
}

func (d *digests) put(k digestKey, a digestAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.list == nil || len(d.list) >= maxDigests {
		d.list = map[digestKey]digestAt{}
	}
	d.list[k] = a
}

// Digest implements hub.View.
func (v *view) Digest(name string, scopes []rule.ScopeID) (change.Digest, error) {
	t, err := v.p.table(name)
	if err != nil {
		return change.Digest{}, err
	}
	rel := slices.Sorted(slices.Values(t.relevant(scopes)))
	if len(rel) == 0 {
		return change.Digest{Table: t.def.Name}, nil
	}
	at, err := v.Cursor()
	if err != nil {
		return change.Digest{}, err
	}
	k := digestKey{epoch: at.Epoch, schema: v.p.hash, table: t.def.Name, scopes: scopeList(rel)}
	if old, ok := v.s.sums.get(k); ok {
		holds, err := v.untouched(t, rel, old.at)
		if err != nil {
			return change.Digest{}, fmt.Errorf("digest of %s: %w", name, err)
		}
		if holds {
			return old.sum, nil
		}
	}
	sum, err := v.digest(t, rel)
	if err != nil {
		return change.Digest{}, fmt.Errorf("digest of %s: %w", name, err)
	}
	v.s.sums.put(k, digestAt{at, sum})
	return sum, nil
}

func (v *view) digest(t *table, scopes []rule.ScopeID) (change.Digest, error) {
	sum := change.Digest{Table: t.def.Name}
	row, key := make([]change.Value, len(t.names)), make(change.Key, len(t.key))
	hasher := change.NewRowHasher(t.names)
	err := v.scan(t, nil, scopes, func(s *sqlite.Stmt) error {
		for i := range row {
			row[i] = sqlite.Column(s, i)
		}
		for i, c := range t.key {
			key[i] = row[c]
		}
		sum.Add(key, hasher.Hash(row))
		return nil
	})
	return sum, err
}

// untouched reports that a cursor belongs to this snapshot's past and no row of
// t was touched in the scopes since.
func (v *view) untouched(t *table, scopes []rule.ScopeID, at change.Cursor) (bool, error) {
	pos, err := v.check(at)
	if err != nil {
		return false, nil //nolint:nilerr // whatever the reason: take it anew
	}
	list := pad(scopes)
	_, touched, err := sqlite.One(v.c, `SELECT 1 FROM _tidemark_log WHERE pos > ? AND tbl = ? AND scope IN (`+marks(len(list))+`) LIMIT 1`,
		append([]change.Value{change.Int(pos), change.Int(t.id)}, list...)...)
	return !touched, err
}
