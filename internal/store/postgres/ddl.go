package postgresstore

import (
	"context"
	"fmt"
)

// DDL is the statements that create the synced tables in an empty SQLite file, in
// order: those that they were made from, or new ones for tables that were there
// before, or were changed since.
func (s *Store) DDL(ctx context.Context) (out []string, err error) {
	c, err := s.pool.borrow(ctx)
	if err != nil {
		return nil, err
	}
	defer s.pool.giveBack(c)
	tables := s.plan.Load().tables
	list := make([]*relation, len(tables))
	for i, t := range tables {
		list[i] = t.rel
	}
	if out, err = edgeDDL(ctx, c, list); err != nil {
		return nil, fmt.Errorf("read the schema's statements: %w", err)
	}
	return out, nil
}
