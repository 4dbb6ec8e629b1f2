package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// maxColumns leaves the capture log, which is as wide as the widest table, below
// SQLite's default limit of 2000 columns.
const maxColumns = 1900

// checkSchema compares the file's tables with the setup. Everything that would
// break sync is reported at once.
func (e *Engine) checkSchema(setup *wire.Setup, rep *InstallReport) error {
	have, _, err := sqlite.TableNames(e.conn)
	if err != nil {
		return err
	}
	known, err := e.localNames()
	if err != nil {
		return err
	}
	var faults []error
	for i := range setup.Schema.Tables {
		want := &setup.Schema.Tables[i]
		r := setup.Rules.Table(want.Name)
		local := knownAs(known, want.Name, r)
		own, err := describeAs(e.conn, want, fileTable(&setup.Schema, want.Name, local, r, have), local, r)
		if err != nil {
			return err
		}
		bad, warn := compareTable(want, own.as, e.setup != nil)
		if r != nil && r.Keys == rule.KeysGlobal && !r.Reference && rowidKey(want) {
			bad = append(bad, "its integer keys are chosen at each device and would collide: use UUIDs, or declare keys: app-assigned and have collisions quarantined")
		}
		for _, m := range bad {
			faults = append(faults, fmt.Errorf("table %s: %s", want.Name, m))
		}
		for _, m := range warn {
			rep.Warnings = append(rep.Warnings, fmt.Sprintf("table %s: %s", want.Name, m))
		}
		if len(bad) > 0 || own.file == nil {
			continue
		}
		if err := e.checkNullKeys(own.file); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("the file's tables do not fit the hub's: %w", errors.Join(faults...))
	}
	return nil
}

// A fileShape is a table of the file, as it is and under the setup's names.
type fileShape struct{ file, as *change.Table }

// describeAs reads the shape of one table of the file; nil when it has none.
func describeAs(c *sqlite.Conn, want *change.Table, file string, known localNames, r *rule.Table) (out fileShape, err error) {
	if file == "" {
		return out, nil
	}
	s, err := sqlite.Describe(c, []string{file})
	if err != nil {
		return out, err
	}
	if out.file = s.Table(file); out.file == nil {
		return out, nil
	}
	out.as = underSetup(want, out.file, known, r)
	return out, nil
}

// underSetup is a table of the file with the setup's names for its columns.
func underSetup(want, file *change.Table, known localNames, r *rule.Table) *change.Table {
	as := *file
	as.Columns = slices.Clone(as.Columns)
	for w := range want.Columns {
		if j := fileColumnOf(want, file, w, known, r); j >= 0 {
			as.Columns[j].Name = want.Columns[w].Name
		}
	}
	return &as
}

// compareTable lists what would break sync, and what it can live with. A file that
// is enrolled lives with more: it was equal to the hub's before one of them changed,
// and its other tables must go on.
func compareTable(want, have *change.Table, enrolled bool) (bad, warn []string) {
	if have == nil {
		if enrolled {
			return nil, []string{"missing here: its rows stay at the hub"}
		}
		return []string{"missing, and the setup has no DDL for it"}, nil
	}
	if len(want.Key) == 0 {
		return []string{"no primary key"}, nil
	}
	if !sameNames(want.KeyNames(), have.KeyNames()) {
		return []string{fmt.Sprintf("its key is (%s), the hub's is (%s)",
			strings.Join(have.KeyNames(), ", "), strings.Join(want.KeyNames(), ", "))}, nil
	}
	if len(have.Columns) > maxColumns {
		return []string{fmt.Sprintf("%d columns; at most %d can be captured", len(have.Columns), maxColumns)}, nil
	}
	for i := range want.Columns {
		w := &want.Columns[i]
		j := have.Column(w.Name)
		if j < 0 {
			warn = append(warn, fmt.Sprintf("column %s is missing here: its values stay at the hub", w.Name))
			continue
		}
		b, n := compareColumn(w, &have.Columns[j])
		if enrolled && !want.InKey(i) && !w.Generated && !have.Columns[j].Generated {
			b, n = nil, append(n, b...)
		}
		bad, warn = append(bad, b...), append(warn, n...)
	}
	for i := range have.Columns {
		h := &have.Columns[i]
		switch {
		case want.Column(h.Name) >= 0:
		case h.NotNull && h.Default == "" && !h.Generated:
			bad = append(bad, fmt.Sprintf("column %s is NOT NULL without a default and unknown to the hub: incoming rows could not be stored", h.Name))
		case !h.Generated:
			warn = append(warn, fmt.Sprintf("column %s is unknown to the hub and does not sync", h.Name))
		}
	}
	if enrolled {
		return bad, append(warn, compareUnique(want, have)...)
	}
	return append(bad, compareUnique(want, have)...), warn
}

func compareColumn(want, have *change.Column) (bad, warn []string) {
	if want.Generated != have.Generated {
		return []string{fmt.Sprintf("column %s is generated on one side only", want.Name)}, nil
	}
	if a, b := change.AffinityOf(have.Type), change.AffinityOf(want.Type); a != b && !want.Generated {
		bad = append(bad, fmt.Sprintf("column %s is %s here and %s at the hub: values would change on the way", want.Name, typeName(have.Type), typeName(want.Type)))
	}
	if have.NotNull && !want.NotNull {
		bad = append(bad, fmt.Sprintf("column %s is NOT NULL here only: incoming NULLs could not be stored", want.Name))
	}
	if want.NotNull && !have.NotNull {
		warn = append(warn, fmt.Sprintf("column %s is NOT NULL at the hub only: rows with a NULL will be quarantined", want.Name))
	}
	if strings.EqualFold(have.Collation, "NOCASE") && !strings.EqualFold(want.Collation, "NOCASE") {
		warn = append(warn, fmt.Sprintf("column %s is compared without regard to case here only: what is unique at the hub may not be here", want.Name))
	}
	return bad, warn
}

// compareUnique refuses uniqueness that only the file demands: two rows that are
// fine at the hub could then never stand together here.
func compareUnique(want, have *change.Table) (bad []string) {
	for i := range have.Unique {
		u := &have.Unique[i]
		if u.Where != "" || hasUnique(want, have, u) {
			continue
		}
		var cols []string
		for _, c := range u.Columns {
			if c >= 0 {
				cols = append(cols, have.Columns[c].Name)
			} else {
				cols = append(cols, "an expression")
			}
		}
		bad = append(bad, fmt.Sprintf("UNIQUE (%s) exists here only", strings.Join(cols, ", ")))
	}
	return bad
}

func hasUnique(want, have *change.Table, u *change.Unique) bool {
	for i := range want.Unique {
		w := &want.Unique[i]
		if len(w.Columns) != len(u.Columns) {
			continue
		}
		same := true
		for j, c := range u.Columns {
			k := w.Columns[j]
			if c < 0 || k < 0 {
				same = same && c == k
				continue
			}
			same = same && sameName(have.Columns[c].Name, want.Columns[k].Name)
		}
		if same {
			return true
		}
	}
	return false
}

// checkNullKeys refuses rows that have no address (trap S9).
func (e *Engine) checkNullKeys(t *change.Table) error {
	var cond []string
	for _, k := range t.KeyNames() {
		cond = append(cond, sqlite.Quote(k)+" IS NULL")
	}
	n, _, err := sqlite.One(e.conn, "SELECT count(*) FROM "+sqlite.Quote(t.Name)+" WHERE "+strings.Join(cond, " OR "))
	if err != nil {
		return err
	}
	if n.Int() > 0 {
		return fmt.Errorf("table %s: %d rows have a NULL key (%s): give them one before they can sync",
			t.Name, n.Int(), strings.Join(t.KeyNames(), ", "))
	}
	return nil
}

func sameNames(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameName(a[i], b[i]) {
			return false
		}
	}
	return true
}

func typeName(decl string) string {
	if decl == "" {
		return "untyped"
	}
	return decl
}
