package hub

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// KindStamp are records that a store keeps itself, by kind: see Tx.PutRecord.
const KindStamp = "stamp"

// recallFor is how long anything is remembered at most. A process of an older version
// beside this one, at the same database, stamps nothing.
const recallFor = time.Minute

// A recall remembers what was read of some kinds of records, until one of them changes:
// whoever looks at ten thousand devices looks again a second later, and next to nothing
// has changed. What it gives out is shared, and not to be modified.
type recall[T any] struct {
	mu    sync.Mutex
	at    time.Time // of reading; zero: nothing is remembered
	stamp string
	value T
}

// get is what read gives, or gave. The kinds are all that read looks at.
func (r *recall[T]) get(v View, now time.Time, read func() (T, error), kinds ...string) (T, error) {
	stamp, err := stampOf(v, kinds)
	if err != nil {
		return *new(T), err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.at); !r.at.IsZero() && r.stamp == stamp && age >= 0 && age < recallFor {
		return r.value, nil
	}
	value, err := read()
	if err != nil {
		return value, err
	}
	r.at, r.stamp, r.value = now, stamp, value
	return value, nil
}

// stampOf tells states of kinds of records apart.
func stampOf(v View, kinds []string) (string, error) {
	var b strings.Builder
	for _, k := range kinds {
		body, err := v.Record(KindStamp, k)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", fmt.Errorf("read the stamp of %s records: %w", k, err)
		}
		fmt.Fprintf(&b, "%x/", body)
	}
	return b.String(), nil
}

// eachID calls fn for each id of a kind, in order, without reading what is kept there.
func eachID(v View, kind, prefix string, fn func(id string) error) error {
	const page = 4096
	after := ""
	for {
		list, err := v.IDs(kind, prefix, after, page)
		if err != nil {
			return fmt.Errorf("read ids of %s records: %w", kind, err)
		}
		for _, id := range list {
			if err := fn(id); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
		after = list[len(list)-1]
	}
}
