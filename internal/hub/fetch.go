package hub

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// fetch sends bootstrap chunks, each of a snapshot of its own, so that however
// slow the edge is no snapshot stays open: the delta since the first chunk's
// cursor makes one state of them. Memory is bounded by one chunk, or two where the
// next one is read while one is sealed and sent.
func (s *Session) fetch(ctx context.Context, m *wire.Fetch, emit func(wire.Message) error) error {
	s.hold(nil)
	start, err := s.start(ctx, m)
	if err != nil {
		return s.fail("fetch", err)
	}
	p := portion{at: place{table: m.Table, after: m.After}, first: m.Table == "" && m.After == nil, seen: m.Seen}
	now, next := s.order(ctx, m, p, start), (*order)(nil)
	defer func() { now.wait(); next.wait() }()
	for n := uint32(1); ; n++ {
		if p, ok := <-now.p.onward; ok && n < m.Window {
			next = s.order(ctx, m, p, start)
		}
		if now.wait(); now.err != nil {
			return s.fail("fetch", s.confess(ctx, now.err))
		}
		if now.void != nil {
			return emit(now.void)
		}
		c := now.chunk
		s.gaveChunk(c, now.p.first)
		if err := emit(c); err != nil {
			return err
		}
		if c.Done || n >= m.Window {
			break
		}
		if next != nil && !next.follows(c) {
			next.wait()
			next = nil
		}
		if next == nil {
			next = s.order(ctx, m, after(c), start)
		}
		now, next = next, nil
	}
	s.hub.note(s.device, func(p *presence) { p.progress = p.seen })
	return nil
}

// portion returns one chunk, or what a device must do that fetched rows of a state
// which is gone.
func (s *Session) portion(ctx context.Context, m *wire.Fetch, p portion, start change.Cursor) (c *wire.Chunk, void *wire.Rebase, err error) {
	aside := false
	var d *draft
	err = s.hub.view(ctx, func(v View) (err error) {
		if err := s.abreast(); err != nil {
			return err
		}
		if void, err = s.voided(v, p.seen); err != nil || void != nil {
			return err
		}
		if p.scopes, err = s.readable(v, m.Scopes); err != nil {
			return err
		}
		if aside, err = s.reach(v, &p); err != nil {
			return err
		}
		if err = s.share(v, &p, start); err != nil || p.key != "" || aside {
			return err
		}
		d, err = s.chunk(v, p.scopes, p.at, p.first)
		return err
	})
	switch {
	case err != nil || void != nil:
	case p.key != "":
		c, err = s.shared(ctx, &p)
	case aside:
		c, err = s.read(ctx, &p)
	default:
		c, err = d.finish(&p)
	}
	return c, void, err
}

// A place is where a bootstrap has come to.
type place struct {
	table string
	after change.Key
}

// readable is the scopes asked for, all readable ones when none is named; asking
// for another one is refused (I6).
func (s *Session) readable(v View, ask []rule.ScopeID) ([]rule.ScopeID, error) {
	dev, err := activeDevice(v, s.device)
	if err != nil {
		return nil, err
	}
	have := rightsOf(dev.Grants).scopes()
	if len(ask) == 0 {
		return have, nil
	}
	for _, a := range ask {
		if !slices.Contains(have, a) {
			return nil, &wire.Fault{Code: "forbidden", Message: "the device may not read scope " + string(a), Hint: "reconnect to learn the present grants"}
		}
	}
	return ask, nil
}

// chunk reads rows from a place on, over the ends of tables, parents first.
func (s *Session) chunk(v View, scopes []rule.ScopeID, at place, first bool) (*draft, error) {
	c := &draft{}
	var err error
	if c.At, err = v.Cursor(); err != nil {
		return nil, err
	}
	if first {
		if c.Total, err = v.Count(scopes); err != nil {
			return nil, fmt.Errorf("count rows: %w", err)
		}
	}
	tables := s.hub.shape.Load().tables
	i := 0
	if at.table != "" {
		i = slices.IndexFunc(tables, func(t *table) bool { return t.schema.Name == at.table })
		if i < 0 {
			return nil, &wire.Fault{Code: "unknown-table", Message: "the hub has no synced table " + at.table, Hint: "start the bootstrap anew"}
		}
	}
	if len(tables) == 0 {
		c.Done = true
		return c, nil
	}
	for room := s.hub.limits.Part; ; {
		r, next, err := v.Scan(tables[i].schema.Name, at.after, scopes, room)
		if err != nil {
			return nil, fmt.Errorf("scan %s: %w", tables[i].schema.Name, err)
		}
		if r != nil && r.Len() > 0 {
			c.rows = append(c.rows, r)
			s.tally.sent(r.Len())
			for _, val := range r.Values {
				room -= val.Size()
			}
		}
		at.after = next
		if next == nil {
			if i++; i == len(tables) {
				c.Done = true
				break
			}
		}
		if room <= 0 {
			break
		}
	}
	if !c.Done {
		c.Table, c.After = tables[i].schema.Name, at.after
	}
	return c, nil
}
