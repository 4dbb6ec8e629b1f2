package proposal

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// amountName finds columns that are probably changed by amounts.
var amountName = regexp.MustCompile(`(?i)^(?:.*_)?(stock|quantity|qty|on_?hand|in_?stock|balance|count|counter|points|visits|views|likes)$`)

// noteColumns says what is worth knowing about single columns.
func (r *reader) noteColumns() error {
	for _, t := range r.tables {
		for i := range t.Columns {
			r.noteColumn(t, i)
		}
		for _, u := range t.Unique {
			r.noteUnique(t, u)
		}
		if err := r.noteNoScope(t); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) noteColumn(t *table, i int) {
	c := &t.Columns[i]
	typ := strings.ToUpper(c.Type)
	if c.Generated {
		t.note(c.Name, false, "it is generated, so it does not travel: each device computes it", "")
		return
	}
	if change.AffinityOf(c.Type) == change.AffinityNumeric && (strings.HasPrefix(typ, "DECIMAL") || strings.HasPrefix(typ, "NUMERIC") || strings.Contains(typ, "MONEY")) {
		t.note(c.Name, true, "SQLite keeps "+c.Type+" as integer or double: 0.90 becomes 0.9, and digits beyond the 15th are lost before Tidemark sees them",
			"keep exact decimals as TEXT, or whole cents as INTEGER")
	}
	if strings.EqualFold(c.Collation, "NOCASE") {
		t.note(c.Name, false, "compared without regard to case (NOCASE): 'a' and 'A' are one value to its UNIQUE index", "")
	}
	if amountName.MatchString(c.Name) && !t.InKey(i) && !t.rule.Reference {
		switch change.AffinityOf(c.Type) {
		case change.AffinityInteger, change.AffinityReal, change.AffinityNumeric:
			t.note(c.Name, false, "it looks like an amount; two devices that each take some away would overwrite each other", "policy: counter adds both changes")
		}
	}
}

// noteUnique warns of uniqueness that devices cannot guarantee each for itself.
func (r *reader) noteUnique(t *table, u change.Unique) {
	if t.rule.Reference {
		return
	}
	var names []string
	for _, c := range u.Columns {
		if c < 0 {
			names = append(names, "an expression")
			continue
		}
		if strings.EqualFold(t.Columns[c].Name, t.rule.Scope.Column) {
			return // unique within the scope
		}
		names = append(names, t.Columns[c].Name)
	}
	t.note("", false, "UNIQUE ("+strings.Join(names, ", ")+"): two devices offline can each use the same value; the later transaction is quarantined",
		"include the column of the scope, or number with a prefix per device")
}

// noteNoScope warns of rows that would go nowhere.
func (r *reader) noteNoScope(t *table) error {
	s := t.rule.Scope
	column := s.Column + s.Via
	if column == "" {
		return nil
	}
	n, err := r.count("SELECT count(*) FROM " + sqlite.Quote(t.Name) + " WHERE " + sqlite.Quote(column) + " IS NULL")
	if err == nil && n > 0 {
		t.note(column, true, plural(n, "one row has", "%d rows have")+" NULL here, and would go to no device", "fill it in, or leave them at the hub")
	}
	return err
}

// noteFile says what is worth knowing about the file.
func (r *reader) noteFile() error {
	mode, _, err := sqlite.One(r.conn, "PRAGMA journal_mode")
	if err != nil {
		return fmt.Errorf("journal mode: %w", err)
	}
	note := func(warning bool, text, fix string) {
		r.p.Notes = append(r.p.Notes, Note{Warning: warning, Text: text, Fix: fix})
	}
	if m := mode.Str(); !strings.EqualFold(m, "wal") && !strings.EqualFold(m, "memory") {
		note(true, "the journal mode is "+m+": while Tidemark reads, the application cannot write, and the other way round", "PRAGMA journal_mode=WAL; once, it stays with the file")
	}
	note(false, "while Tidemark applies changes the application may find the file locked for a moment", "set a busy timeout in the application: PRAGMA busy_timeout=5000;")
	var integer []string
	for _, t := range r.tables {
		if t.rule.Keys == rule.KeysAppAssigned {
			integer = append(integer, t.Name)
		}
	}
	if len(integer) > 0 {
		note(true, "integer keys: two devices offline can choose the same key for different rows; with keys: app-assigned the later one is quarantined. This concerns "+strings.Join(integer, ", "),
			"use UUIDs as keys, or keys: leased, which gives each device numbers of its own; or reference: true where devices only read")
	}
	if len(r.tables) > 0 && !slices.ContainsFunc(r.p.Candidates, func(c Candidate) bool { return c.Chosen }) {
		fix := "that is right when all sites share all data; otherwise add a column such as branch_id to the tables whose rows belong to one site"
		if len(r.p.Candidates) > 0 {
			c := r.p.Candidates[0]
			fix += fmt.Sprintf(", or use one that is there, such as scope: %s/{%s} on %s", c.Kind, c.Column, c.Table)
		}
		note(false, "no column says by its name which site a row belongs to, so every row goes to every device", fix)
	}
	return nil
}
