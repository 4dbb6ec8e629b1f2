package hub

import (
	"context"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Devices that were at one state when the hub went away come back to it together, and so
// do those that close a bootstrap which began at one. What they ask for is named by where
// it begins and where it ends: the state that each one's own look sees. So it is a letter,
// too, of two states that both are known, and nobody needs to have been woken for it. Who
// asks first reads for itself, since hardly anybody else comes back to most states; the
// second one reads for all.

// together emits what lies between since and v's state, next, as it was read for everybody.
// done is false when this session is to read for itself. A stranger has no outcome to hear:
// nothing between is its own. An author may read a letter when it asks for its own rows.
func (d *deltas) together(ctx context.Context, v View, since, next change.Cursor, scopes []rule.ScopeID, stranger bool) (done bool, err error) {
	s := d.session
	n := s.hub.shelf.news
	if n == nil || !stranger && !d.echo || since.IsZero() {
		return false, nil
	}
	key := s.letterKey("delta", hashScopes(scopes).String(), since.String(), next.String())
	first := false
	if _, err := n.cache.Get(ctx, "asked "+key, func(context.Context) ([]byte, error) {
		first = true
		return []byte{1}, nil
	}); err != nil || first {
		return false, err
	}
	b, err := n.cache.Get(ctx, key, func(context.Context) ([]byte, error) {
		l := &letter{next: next}
		if err := s.fill(v, since, scopes, l); err != nil {
			return nil, err
		}
		return l.encode()
	})
	if err != nil {
		return false, err
	}
	l, err := openLetter(b)
	if err != nil || l.Apart || l.next != next {
		return false, nil //nolint:nilerr // it costs a look of one's own
	}
	s.tally.sent(l.Rows)
	for i, body := range l.bodies {
		if i == len(l.bodies)-1 {
			d.last = body
			break
		}
		d.sent = true
		if err := d.emit(&wire.Delta{Body: body}); err != nil {
			return true, err
		}
	}
	return true, nil
}
