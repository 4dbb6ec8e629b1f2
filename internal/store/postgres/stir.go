package postgresstore

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

var _ hub.Stirrer = (*view)(nil)

// stirMost is how many scopes and authors a stir tells apart; beyond that it is for all.
const stirMost = 1000

// Stirred implements hub.Stirrer. An entry without a row names in its origin whom it
// concerns; see notch.
func (v *view) Stirred(since change.Cursor) (hub.Stir, error) {
	all := hub.Stir{All: true}
	m, err := v.check(since)
	if errors.Is(err, hub.ErrBelowFloor) || errors.Is(err, hub.ErrOtherHistory) || since.IsZero() {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	st := hub.Stir{Scopes: map[rule.ScopeID]bool{}, Authors: map[change.Incarnation]bool{}}
	var a args
	n := 0
	err = v.query(m.stirredSQL(&a), func(r *row) error {
		n++
		switch {
		case !r.bool(1):
			st.Scopes[rule.ScopeID(r.text(0))] = true
		case r.null(2):
			st.All = true
		default:
			var inc change.Incarnation
			copy(inc[:], r.blob(2))
			st.Authors[inc] = true
		}
		return nil
	}, a.list...)
	if err != nil {
		return all, fmt.Errorf("read whom changes concern: %w", err)
	}
	if n == stirMost {
		return all, nil
	}
	return st, nil
}

// stirredSQL reads the scopes of the entries that m does not show, whether each is without a
// row, and the author that such a one names.
func (m *moment) stirredSQL(a *args) string {
	return "SELECT DISTINCT l.scope, l.tbl = 0, o.inc FROM " + m.entries("", a) +
		" AS l LEFT JOIN tidemark.origin AS o ON l.tbl = 0 AND o.id = l.origin AND o.id > 1 LIMIT " + a.add(int64(stirMost)) + "::int8"
}

// notchFor is notch for the authors of some transactions, by their numbers.
func (t *tx) notchFor(authors []int64) error {
	if err := t.whole(); err != nil {
		return err
	}
	b := &pgx.Batch{}
	if err := t.queueNotches(b, authors); err != nil {
		return err
	}
	if err := t.batch(b); err != nil {
		return fmt.Errorf("write the change log: %w", err)
	}
	return nil
}

// queueNotches adds the statements of notchFor.
func (t *tx) queueNotches(b *pgx.Batch, authors []int64) error {
	if err := t.ready(); err != nil {
		return err
	}
	t.wrote = true
	b.Queue(`INSERT INTO tidemark.log (tbl, op, mask, origin, hlc, scope) SELECT 0, $1::int2, 0, a, $2::int8, '' FROM (SELECT DISTINCT unnest($3::int4[])) AS d (a)`,
		int64(ledger.Touch), int64(t.by.HLC), authors)
	b.Queue(`SELECT pg_notify('tidemark', '')`)
	return nil
}
