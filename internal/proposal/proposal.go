package proposal

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A Proposal is what was found in a file, and the rules that would suit it.
type Proposal struct {
	Tables     []Table     `json:"tables"`     // those that can sync, parents first
	Refused    []Refusal   `json:"refused"`    // what cannot sync
	Candidates []Candidate `json:"candidates"` // columns that could divide the rows, best first
	Triggers   []Trigger   `json:"triggers"`   // the application's own
	Notes      []Note      `json:"notes"`      // about the file as a whole

	schema change.Schema // all ordinary tables
}

// A Table is a table that can sync.
type Table struct {
	Rule    rule.Table `json:"rule"` // as proposed
	Rows    int64      `json:"rows"`
	Key     []string   `json:"key"`
	Parents []string   `json:"parents,omitempty"` // the tables its foreign keys point at
	Notes   []Note     `json:"notes,omitempty"`
}

// A Note is something a person should know.
type Note struct {
	Column  string `json:"column,omitempty"`
	Warning bool   `json:"warning,omitempty"` // it can cost data or surprise; otherwise for information
	Text    string `json:"text"`
	Fix     string `json:"fix,omitempty"` // what to do about it
}

// A Refusal is a schema object that cannot sync as it is.
type Refusal struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // table, view, virtual, shadow
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// A Candidate is a column whose values could name scopes.
type Candidate struct {
	Kind     string   `json:"kind"`
	Table    string   `json:"table"`
	Column   string   `json:"column"`
	Distinct int64    `json:"distinct"` // different values in it, NULL apart
	Nulls    int64    `json:"nulls"`    // rows without one
	Chosen   bool     `json:"chosen"`
	Parent   string   `json:"parent,omitempty"` // the table its foreign key points at
	Samples  []string `json:"samples,omitempty"`
}

// A Trigger is one of the application's own triggers, and what becomes of it.
type Trigger struct {
	Name    string `json:"name"`
	Table   string `json:"table"`
	Guarded bool   `json:"guarded"` // kept from running while Tidemark applies
	Why     string `json:"why"`
}

// Schema is the shape of all ordinary tables of the file, synced or not.
func (p *Proposal) Schema() change.Schema { return p.schema }

// Rules are the rules as proposed.
func (p *Proposal) Rules() rule.Rules {
	var out rule.Rules
	for i := range p.Tables {
		out.Tables = append(out.Tables, p.Tables[i].Rule)
	}
	return out
}

// Read looks at the file in one snapshot. Its time grows with the size of the
// file: it counts rows and the values of some columns.
func Read(conn *sqlite.Conn) (*Proposal, error) {
	r := &reader{conn: conn, p: &Proposal{}}
	if err := sqlite.Snapshot(conn, r.read); err != nil {
		return nil, fmt.Errorf("read the file for a proposal: %w", err)
	}
	return r.p, nil
}

// A reader gathers facts and decides, step by step.
type reader struct {
	conn   *sqlite.Conn
	p      *Proposal
	tables []*table // those that can sync so far
}

// A table is a table under consideration.
type table struct {
	*change.Table
	rows      int64
	rule      rule.Table
	notes     []Note
	reference bool // rows of others point at it across scopes
}

func (t *table) note(column string, warning bool, text, fix string) {
	t.notes = append(t.notes, Note{Column: column, Warning: warning, Text: text, Fix: fix})
}

func (r *reader) read() error {
	names, special, err := sqlite.TableNames(r.conn)
	if err != nil {
		return err
	}
	if r.p.schema, err = sqlite.Describe(r.conn, names); err != nil {
		return err
	}
	r.refuseSpecial(special)
	for _, step := range []func() error{
		r.collect, r.refuseOrphans, r.candidates, r.divide, r.noteColumns, r.noteViolations, r.triggers, r.noteFile,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	r.finish()
	return nil
}

// finish puts the tables into the proposal, parents first.
func (r *reader) finish() {
	done := map[*table]bool{}
	var put func(t *table)
	put = func(t *table) {
		if done[t] {
			return
		}
		done[t] = true
		out := Table{Rule: t.rule, Rows: t.rows, Key: t.KeyNames(), Notes: t.notes}
		seen := map[string]bool{}
		for i := range t.ForeignKeys {
			p := r.table(t.ForeignKeys[i].Parent)
			if p == nil || seen[p.Name] {
				continue
			}
			seen[p.Name] = true
			out.Parents = append(out.Parents, p.Name)
			put(p)
		}
		r.p.Tables = append(r.p.Tables, out)
	}
	for _, t := range r.tables {
		put(t)
	}
}

// table is a table that can sync, or nil.
func (r *reader) table(name string) *table {
	for _, t := range r.tables {
		if strings.EqualFold(t.Name, name) {
			return t
		}
	}
	return nil
}

// count runs a query that gives one number.
func (r *reader) count(sql string, args ...change.Value) (int64, error) {
	v, _, err := sqlite.One(r.conn, sql, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", sql, err)
	}
	return v.Int(), nil
}
