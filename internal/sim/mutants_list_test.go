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
			if err := s.e.markSettled(seq, "", "?"); err != nil {
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
		before: `t.sql() + " (" + sqlite.QuoteAll("", t.locals(p.names)) + ") VALUES (?" +`,
		after:  `t.sql() + " VALUES (?" +`,
	},
	{
		name:   "REPLACE at apply",
		file:   "internal/edge/apply_plan.go",
		before: `	insert := "INSERT INTO " + t.sql()`,
		after:  `	insert := "INSERT OR REPLACE INTO " + t.sql()`,
		seeds:  200,
	},
	{
		name:   "naive overlay",
		file:   "internal/edge/overlay.go",
		before: `cur[j] = merge.Overlay(rules.PolicyOf(t.names[j]), cur[j], op.Base[i], op.New[i])`,
		after:  `_, cur[j] = merge.Overlay(rules.PolicyOf(t.names[j]), cur[j], op.Base[i], op.New[i]), op.New[i]`,
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
		before: `	h := history{unknown: st == unknown || st == astray, own`,
		after: `	if st == unknown {
		return history{}, nil
	}
	h := history{unknown: st == unknown || st == astray, own`,
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
	{
		name:   "sequence-only acknowledgement",
		file:   "internal/edge/lineage.go",
		before: `return !ok || v.Str() == string(sum[:]), err`,
		after:  `return !ok || v.Str() != "", err`,
		also: []patch{
			{"internal/hub/ingest.go", `if t.Seq != b.progress.Seq+1 || t.Prev != b.progress.Sum {`, `if t.Seq != b.progress.Seq+1 {`},
			{"internal/hub/ingest.go", `if errors.Is(err, ErrNotFound) || err == nil && rec.Sum != sum {`, `if errors.Is(err, ErrNotFound) {`},
		},
	},
	{
		name:   "no epoch",
		file:   "internal/store/sqlite/view.go",
		before: `		if lives[i].Epoch != c.Epoch {`,
		after:  `		if i < len(lives)-1 {`,
		also:   []patch{{"internal/store/sqlite/view.go", `	if known != nonce {`, `	if known != nonce && pos < 0 {`}},
		play:   Rollbacks,
	},
	{
		name:   "hub that knows only its own line",
		file:   "internal/hub/lineage.go",
		before: `change.Successor(lineage, m.Lineage, m.Confirmed); ok`,
		after:  `change.Successor(lineage[len(lineage)-1:], nil, m.Confirmed); ok`,
		play:   Rollbacks,
	},
	{
		name:   "no redo",
		file:   "internal/edge/redo.go",
		before: `	over, freed := have-e.cfg.RedoBytes, int64(0)`,
		after:  `	over, freed := have, int64(0)`,
		play:   Rollbacks,
	},
	{
		name: "pruned when acknowledged",
		file: "internal/edge/settle.go",
		before: `		err := sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET state=?, epoch="+e.epochSQL()+" WHERE state=? AND seq<=?",
			change.Int(int64(durable)), epochValue(e.epoch), change.Int(int64(waiting)), change.Int(int64(seq)))`,
		after: `		err := sqlite.Exec(e.conn, "DELETE FROM _tidemark_outbox WHERE state=? AND seq<=?", change.Int(int64(waiting)), change.Int(int64(seq)))`,
		play:  Rollbacks,
	},
}
