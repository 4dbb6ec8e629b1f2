package postgresstore

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
	if v.flush == nil { // what a transaction goes on to write is no change since its cursor
		v.s.sums.put(k, digestAt{at, sum})
	}
	return sum, nil
}

func (v *view) digest(t *table, scopes []rule.ScopeID) (change.Digest, error) {
	sum := change.Digest{Table: t.def.Name}
	key := make(change.Key, len(t.key))
	hasher := change.NewRowHasher(t.names)
	err := v.scan(t, nil, scopes, 0, func(values []change.Value) error {
		for i, c := range t.key {
			key[i] = values[c]
		}
		sum.Add(key, hasher.Hash(values))
		return nil
	})
	return sum, err
}

// untouched reports that a cursor belongs to this snapshot's past and no row of
// t was touched in the scopes since.
func (v *view) untouched(t *table, scopes []rule.ScopeID, at change.Cursor) (bool, error) {
	m, err := v.check(at)
	if err != nil {
		return false, nil //nolint:nilerr // whatever the reason: take it anew
	}
	now, err := v.now()
	if err != nil || !now.covers(&m) { // the digest was taken in a newer snapshot
		return false, err
	}
	var a args
	touched := false
	err = v.query("SELECT EXISTS (SELECT FROM tidemark.log AS l WHERE l.tbl = "+a.add(t.id)+"::int4 AND l.scope = ANY("+a.add(scopeTexts(scopes))+"::text[]) AND "+m.beyond("l.", &a)+")",
		func(r *row) error {
			touched = r.bool(0)
			return nil
		}, a.list...)
	return !touched, err
}

// scopeList names a set of scopes, for the digests' cache.
func scopeList(scopes []rule.ScopeID) string {
	var b strings.Builder
	for _, s := range scopes {
		fmt.Fprintf(&b, "%d:%s", len(s), s)
	}
	return b.String()
}
