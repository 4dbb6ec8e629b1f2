package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A Listing is what a store wrote down about a table when it last served it: what the
// log's masks, keys and scopes mean. One without columns is retired: the table does
// not sync any more, or not yet again.
type Listing struct {
	ID           int64
	Columns, Key string // stored columns and key columns, as NameList
	Scope        string // the way to the scope, in the store's own words
}

// Listings are what is written down, by the tables' names.
type Listings map[string]Listing

// Fit lays the rules over the schema, and leaves out of it what they do not name. A
// table that was served before and cannot be now is left out, and its name, in lower
// case, is lost: whoever dropped it did not mean to stop the others. One that never was
// served, or by another rule than that in force, is the rules' fault. refused says,
// by names in lower case, why tables that are there cannot sync; inForce is nil when
// nothing is yet.
func (l Listings) Fit(rules, inForce *rule.Rules, schema *change.Schema, refused map[string]string) (fit *rule.Rules, lost map[string]bool, err error) {
	fitting, misfits := rule.Fit(rules, schema)
	lost = map[string]bool{}
	for _, m := range misfits {
		if why := refused[strings.ToLower(m.Table)]; why != "" {
			m.Reason = why
		}
		asked := rules.Table(m.Table)
		name := l.served(asked)
		if name == "" || anew(inForce, asked) {
			return nil, nil, fmt.Errorf("table %s: %s", m.Table, m.Reason)
		}
		lost[strings.ToLower(name)] = true
	}
	var kept change.Schema
	for i := range schema.Tables {
		if n := schema.Tables[i].Name; fitting.Table(n) != nil || rules.Table(n) != nil {
			kept.Tables = append(kept.Tables, schema.Tables[i])
		}
	}
	*schema = kept
	return &fitting, lost, nil
}

// served is the name under which a table was served before, or "".
func (l Listings) served(t *rule.Table) string {
	for name, e := range l {
		if e.Columns != "" && (strings.EqualFold(name, t.Name) || ContainsFold(t.Was, name)) {
			return name
		}
	}
	return ""
}

// anew reports whether a rule is another one than that in force.
func anew(inForce *rule.Rules, t *rule.Table) bool {
	if inForce == nil {
		return false
	}
	was := inForce.Table(t.Name)
	return was == nil || !Same(was, t)
}

// Take takes out what is known of a table, under its name or, when it was renamed,
// under the one before, which is from then. A retired table that had the name meanwhile
// keeps its number, because the log may hold it still: it needs another name.
func (l Listings) Take(name string, was []string) (e Listing, from string, ok bool) {
	e, ok = l[name]
	delete(l, name)
	if ok && e.Columns != "" {
		return e, "", true
	}
	for _, w := range was {
		for former, old := range l {
			if strings.EqualFold(former, w) && old.Columns != "" {
				delete(l, former)
				return old, former, true
			}
		}
	}
	return e, "", ok
}

// Retiring are the names of those left that do not sync any more. What the rules still
// name is kept as it was: it may come back.
func (l Listings) Retiring(lost map[string]bool) []string {
	var out []string
	for name, e := range l {
		if e.Columns != "" && !lost[strings.ToLower(name)] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Reshape compares the former columns of a table, as a Listing has them, with the
// present ones. from is where each present one was, -1 for one that is new; same says
// that they only grew at the end, so that what was written before still holds.
func Reshape(r *rule.Table, names []string, columns string) (from []int, same bool, err error) {
	var was []string
	if err := json.Unmarshal([]byte(columns), &was); err != nil {
		return nil, false, fmt.Errorf("table %s: read its former columns: %w", r.Name, err)
	}
	same = len(names) >= len(was)
	for i, n := range names {
		at := former(r, names, was, n)
		from = append(from, at)
		same = same && (i >= len(was) || at == i)
	}
	return from, same, nil
}

// former is the place of a column in an earlier list: under its name, or under one
// of its others that no column has now.
func former(r *rule.Table, names, was []string, column string) int {
	if i := slices.Index(was, column); i >= 0 {
		return i
	}
	for _, other := range r.Columns[strings.ToLower(column)].Was {
		if ContainsFold(names, other) {
			continue
		}
		if i := IndexFold(was, other); i >= 0 {
			return i
		}
	}
	return -1
}

// A Rename is a column's earlier name and the present one.
type Rename struct{ Was, Now string }

// Renames are the earlier names of a table's columns that no column has now.
func Renames(r *rule.Table, names []string) []Rename {
	var out []Rename
	for _, n := range names {
		for _, w := range r.Columns[strings.ToLower(n)].Was {
			if !ContainsFold(names, w) {
				out = append(out, Rename{w, n})
			}
		}
	}
	return out
}

// In puts the present name into a NameList.
func (r Rename) In(list string) string {
	return strings.ReplaceAll(list, strings.Trim(NameList([]string{r.Was}), "[]"), strings.Trim(NameList([]string{r.Now}), "[]"))
}

// NameList is a list of names as a Listing has it: JSON.
func NameList(names []string) string {
	b, err := json.Marshal(names)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Same reports whether two rules, or schemas, say the same.
func Same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
