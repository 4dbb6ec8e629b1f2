package sim

// serverMutants are mistakes in what a hub does on a PostgreSQL server.
var serverMutants = []mutant{
	{
		name:   "naive sequence cursor",
		file:   "internal/store/postgres/cursor.go",
		before: `	s := prefix + "xid >= " + a.add(strconv.FormatUint(m.max, 10)) + "::text::xid8"`,
		after: `	if len(m.open) >= 0 {
		return prefix + "pos > " + a.add(m.pos)
	}
	s := prefix + "xid >= " + a.add(strconv.FormatUint(m.max, 10)) + "::text::xid8"`,
		also: []patch{{"internal/store/postgres/cursor.go", `	s := from + "xid >= " + a.add(strconv.FormatUint(m.max, 10)) + "::text::xid8 AND xid <= '18446744073709551615'::xid8"
	if len(m.open) > 0 {`, `	s := from + "pos > " + a.add(m.pos)
	if len(m.open) > 1<<20 {`}},
		play:   Lingering,
		server: true,
	},
	{
		name:   "cursor without the transactions under way",
		file:   "internal/store/postgres/cursor.go",
		before: `		if x < m.max && x != own {`,
		after:  `		if x < m.max && x == own {`,
		play:   Lingering,
		server: true,
	},
	{
		name:   "no epoch at a server",
		file:   "internal/store/postgres/cursor.go",
		before: `		if lives[i].Epoch != c.Epoch {`,
		after:  `		if i < len(lives)-1 {`,
		also:   []patch{{"internal/store/postgres/cursor.go", `	if a.m.max > 0 && a.known != a.m.nonce {`, `	if a.m.max > 0 && a.known != a.m.nonce && a.m.pos < 0 {`}},
		play:   Rollbacks,
		server: true,
	},
	{
		name:   "no fence",
		file:   "internal/store/postgres/duty.go",
		before: `	if !held {`,
		after:  `	if !held && c == nil {`,
		play:   Together,
		server: true,
	},
}
