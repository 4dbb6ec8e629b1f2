package sim

// mutants are the classic mistakes of sync systems. Each was made by somebody.
var mutants = []mutant{
	{
		name: "no uuid de-duplication",
		file: "internal/hub/ingest.go",
		before: `	first, err := b.tx.Known(t.ID)
	switch {`,
		after: `	first, err := (*Received)(nil), ErrNotFound
	switch {`,
	},
	{
		name:   "acknowledged before the effects",
		file:   "internal/edge/session_push.go",
		before: `	err := s.e.locked(func() error { return s.e.markDurable(m.Durable) })`,
		after: `	err := s.e.locked(func() error {
		if err := s.e.markDurable(m.Durable); err != nil {
			return err
		}
		for seq := uint64(1); seq <= m.Durable; seq++ {
			if err := s.e.markSettled(seq, ""); err != nil {
				return err
			}
		}
		return nil
	})`,
	},
	{
		name: "pending work dropped on bootstrap",
		file: "internal/edge/apply.go",
		before: `	if a.in.full {
		complete, err`,
		after: `	if a.in.full {
		for _, q := range []string{"DELETE FROM _tidemark_outbox WHERE state=0", "DELETE FROM _tidemark_pending", "DELETE FROM _tidemark_shadow"} {
			if err := sqlite.Exec(a.e.conn, q); err != nil {
				return err
			}
		}
		complete, err`,
	},
	{
		name:   "columns by position",
		file:   "internal/edge/apply_plan.go",
		before: `sqlite.Quote(t.schema.Name) + " (" + sqlite.QuoteAll("", p.names) + ") VALUES (?" +`,
		after:  `sqlite.Quote(t.schema.Name) + " VALUES (?" +`,
	},
	{
		name:   "REPLACE at apply",
		file:   "internal/edge/apply_plan.go",
		before: `	insert := "INSERT INTO " + sqlite.Quote(t.schema.Name)`,
		after:  `	insert := "INSERT OR REPLACE INTO " + sqlite.Quote(t.schema.Name)`,
		seeds:  200,
	},
	{
		name:   "naive overlay",
		file:   "internal/edge/overlay.go",
		before: `cur[j] = merge.Overlay(rules.PolicyOf(c), cur[j], op.Base[i], op.New[i])`,
		after:  `_, cur[j] = merge.Overlay(rules.PolicyOf(c), cur[j], op.Base[i], op.New[i]), op.New[i]`,
	},
	{
		name: "base cursor moved at pull",
		file: "internal/hub/conflict.go",
		before: `	base := a.tx.Bases[w.op.BaseAt]
	st, err`,
		after: `	base := a.batch.start
	st, err`,
	},
	{
		name:   "below the floor taken for no conflict",
		file:   "internal/hub/conflict.go",
		before: `	h := history{unknown: st == unknown, own`,
		after: `	if st == unknown {
		return history{}, nil
	}
	h := history{unknown: st == unknown, own`,
		seeds: 200,
	},
	{
		name: "quarantine that blocks the queue",
		file: "internal/hub/ingest.go",
		before: `	b.parked++
	return v.receipts, b.park(rec, v)
}

// stamp`,
		after: `	return 0, errors.New("cannot apply: " + v.reason)
}

// stamp`,
	},
	{
		name: "quarantine that drops",
		file: "internal/hub/ingest.go",
		before: `	b.parked++
	return v.receipts, b.park(rec, v)
}

// stamp`,
		after: `	rec.Status = Applied
	return v.receipts, nil
}

// stamp`,
	},
	{
		name:   "applied rows captured again",
		file:   "internal/edge/apply.go",
		before: `	if err := sqlite.Exec(e.conn, "INSERT INTO _tidemark_applying VALUES (1)"); err != nil {`,
		after:  `	if err := sqlite.Exec(e.conn, "SELECT 1"); err != nil {`,
	},
	{
		name:   "split group on top of what was applied of it",
		file:   "internal/edge/settle.go",
		before: `	if o.Waits == nil {`,
		after:  `	if o.Waits == nil || len(o.Waits) > 0 {`,
	},
}
