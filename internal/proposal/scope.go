package proposal

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// maxScopes is the most different values a column may hold to be thought of as
// naming scopes.
const maxScopes = 1000

// maxParents is the same for a foreign key whose name says nothing.
const maxParents = 100

// siteName finds columns whose name says that they tell where a row belongs.
var siteName = regexp.MustCompile(`(?i)^(?:.*_)?(branch|site|store|shop|tenant|clinic|practice|location|warehouse|region|org|organi[sz]ation|company|depot|office|station|vehicle|truck|ship|vessel|facility|hospital|ward|outlet|franchise|school|farm|plant|account)_?(?:id|uuid|guid|code|no|nr|key)?$`)

// candidates finds the columns that could divide the rows: by name, or as
// foreign keys with few different values.
func (r *reader) candidates() error {
	for _, t := range r.tables {
		for _, i := range t.Stored() {
			c := Candidate{Table: t.Name, Column: t.Columns[i].Name}
			if m := siteName.FindStringSubmatch(c.Column); m != nil {
				c.Kind = strings.ToLower(m[1])
			}
			if fks := config.Through(t.Table, c.Column); len(fks) == 1 && len(fks[0].Columns) == 1 && !strings.EqualFold(fks[0].Parent, t.Name) {
				c.Parent = fks[0].Parent
				if c.Kind == "" {
					c.Kind = kindOf(c.Parent)
				}
			}
			// A table's own key names its rows, not where they belong.
			if c.Kind == "" || c.Kind == string(rule.ScopeAll) || len(t.Key) == 1 && t.InKey(i) || strings.ContainsAny(c.Column, "{}\x00") {
				continue
			}
			if err := r.sample(&c); err != nil {
				return err
			}
			byName := siteName.MatchString(c.Column)
			if byName && c.Distinct <= maxScopes || c.Distinct > 1 && c.Distinct <= maxParents && c.Distinct*10 <= t.rows {
				r.p.Candidates = append(r.p.Candidates, c)
			}
		}
	}
	r.rankCandidates()
	return nil
}

// kindOf makes a scope kind of a table's name.
func kindOf(name string) string {
	kind := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			return c
		case c == ' ':
			return '_'
		}
		return -1
	}, strings.ToLower(name))
	return strings.TrimLeft(kind, "0123456789-_")
}

func (r *reader) sample(c *Candidate) error {
	from := fmt.Sprintf("(SELECT DISTINCT %s AS v FROM %s WHERE v IS NOT NULL LIMIT %d)", sqlite.Quote(c.Column), sqlite.Quote(c.Table), maxScopes+1)
	var err error
	if c.Distinct, err = r.count("SELECT count(*) FROM " + from); err != nil {
		return err
	}
	if c.Nulls, err = r.count("SELECT count(*) FROM " + sqlite.Quote(c.Table) + " WHERE " + sqlite.Quote(c.Column) + " IS NULL"); err != nil {
		return err
	}
	return sqlite.Query(r.conn, "SELECT v FROM "+from+" ORDER BY v LIMIT 3", func(s *sqlite.Stmt) error {
		c.Samples = append(c.Samples, string(rule.Of(c.Kind, sqlite.Column(s, 0))))
		return nil
	})
}

// rankCandidates orders candidates: those that can be chosen first, then by how
// many tables know the kind, then by name; and chooses the first kind. Chosen is
// only what says by its name that it is a place, and says so of nearly every row.
func (r *reader) rankCandidates() {
	list := r.p.Candidates
	tables := map[string]int{}
	for _, c := range list {
		tables[c.Kind]++
	}
	named := func(c Candidate) int {
		if siteName.MatchString(c.Column) && c.Nulls*10 <= r.table(c.Table).rows {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(named(a), named(b)), cmp.Compare(tables[b.Kind], tables[a.Kind]),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Table, b.Table))
	})
	if len(list) == 0 || named(list[0]) != 0 {
		return
	}
	chosen := map[string]string{} // one column per table
	for i := range list {
		c := &list[i]
		if c.Kind != list[0].Kind || named(*c) != 0 {
			continue
		}
		if first, ok := chosen[c.Table]; ok {
			r.table(c.Table).note(c.Column, true, "it names a "+c.Kind+" too, but a row belongs to one scope only: that of "+first, "choose the column that says who works with the row")
			continue
		}
		chosen[c.Table] = c.Column
		c.Chosen = true
	}
}

// divide proposes a scope for each table, and takes a parent out of the division
// (as reference) when the data has rows that point at it across scopes, until
// none do.
func (r *reader) divide() error {
	for {
		r.assign()
		parent, child, n, err := r.crossing()
		if err != nil {
			return err
		}
		if parent == nil {
			return nil
		}
		parent.reference = true
		text := "rows of " + child.Name + " can point at it from any scope"
		if n > 0 {
			text = plural(n, "one row of "+child.Name+" points", "%d rows of "+child.Name+" point") + " at it from another scope"
		}
		parent.note("", true, text,
			"proposed as reference: true, read-only at devices; or repair those rows and give it the scope of its own rows")
	}
}

// assign gives tables with a chosen column its scope, then children of scoped
// parents theirs through the parent; the rest goes everywhere.
func (r *reader) assign() {
	for _, t := range r.tables {
		t.rule.Scope, t.rule.Reference = rule.Scope{All: true}, t.reference
	}
	for _, c := range r.p.Candidates {
		t := r.table(c.Table)
		if !c.Chosen || t.reference {
			continue
		}
		t.rule.Scope = rule.Scope{Kind: c.Kind, Column: c.Column}
		if p := r.table(c.Parent); p != nil && p != t {
			p.reference = true // the list of scopes itself: everyone may read it
			p.rule = rule.Table{Name: p.Name, Scope: rule.Scope{All: true}, Reference: true}
		}
	}
	for again := true; again; {
		again = false
		for _, t := range r.tables {
			if !t.rule.Scope.All || t.reference {
				continue
			}
			if via := r.via(t); via != "" {
				t.rule.Scope = rule.Scope{Via: via}
				again = true
			}
		}
	}
	for _, t := range r.tables {
		t.rule.Keys = rule.KeysGlobal
		if config.IntegerKey(t.Table) && !t.rule.Reference {
			t.rule.Keys = rule.KeysAppAssigned
		}
	}
}

// via is the best column through which a table's rows follow a scoped parent:
// one that owns them (ON DELETE CASCADE), else one that is never NULL.
func (r *reader) via(t *table) string {
	best, bestScore := "", 0
	for i := range t.ForeignKeys {
		fk := &t.ForeignKeys[i]
		p := r.table(fk.Parent)
		if p == t || p.rule.Scope.All {
			continue
		}
		for _, k := range fk.Columns {
			c := &t.Columns[k]
			if len(config.Through(t.Table, c.Name)) != 1 || c.Generated {
				continue
			}
			score := 1
			if c.NotNull || t.InKey(k) {
				score += 2
			}
			if strings.EqualFold(fk.OnDelete, "CASCADE") {
				score += 4
			}
			if score > bestScore {
				best, bestScore = c.Name, score
			}
		}
	}
	return best
}

// crossing finds a scoped parent that rows of another scope point at, or rows
// that go everywhere.
func (r *reader) crossing() (parent, child *table, n int64, err error) {
	for _, t := range r.tables {
		for i := range t.ForeignKeys {
			fk := &t.ForeignKeys[i]
			p := r.table(fk.Parent)
			if p.rule.Scope.All || t.rule.Scope.Via != "" && slices.Contains(fk.Columns, t.Column(t.rule.Scope.Via)) {
				continue
			}
			mine, theirs := r.scopeSQL(t, "c", 0), r.scopeSQL(p, "p", 0)
			n, err := r.count("SELECT count(*) FROM " + sqlite.Quote(t.Name) + " AS c JOIN " + sqlite.Quote(p.Name) + " AS p ON " +
				onSQL(t, fk, "c", "p") + " WHERE CAST((" + mine + ") AS TEXT) <> ifnull(CAST((" + theirs + ") AS TEXT), '')")
			if err != nil {
				return nil, nil, 0, err
			}
			if n > 0 || t.rule.Scope.All && t != p {
				return p, t, n, nil
			}
		}
	}
	return nil, nil, 0, nil
}

// scopeSQL is an expression for the scope value of the row that alias names.
func (r *reader) scopeSQL(t *table, alias string, depth int) string {
	s := t.rule.Scope
	if s.All {
		return "'all'"
	}
	if s.Column != "" {
		return alias + "." + sqlite.Quote(s.Column)
	}
	fk := config.Through(t.Table, s.Via)[0]
	p, up := r.table(fk.Parent), fmt.Sprintf("u%d", depth)
	return "SELECT " + "(" + r.scopeSQL(p, up, depth+1) + ")" + " FROM " + sqlite.Quote(p.Name) + " AS " + up + " WHERE " + onSQL(t, fk, alias, up)
}

func onSQL(t *table, fk *change.ForeignKey, child, parent string) string {
	parts := make([]string, len(fk.Columns))
	for i, k := range fk.Columns {
		parts[i] = parent + "." + sqlite.Quote(fk.To[i]) + " = " + child + "." + sqlite.Quote(t.Columns[k].Name)
	}
	return strings.Join(parts, " AND ")
}
