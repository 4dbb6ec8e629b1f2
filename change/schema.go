package change

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// SchemaHash names a set of table shapes: names, columns, types and keys.
type SchemaHash [16]byte

func (h SchemaHash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h SchemaHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *SchemaHash) UnmarshalText(b []byte) error {
	if len(b) != 32 {
		return fmt.Errorf("parse schema hash %q: want 32 hex digits", b)
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// A Schema is the shape of the tables that sync, in name order.
type Schema struct {
	Tables []Table `json:"tables"`
}

// A Table is the shape of one table.
type Table struct {
	Name         string       `json:"name"`
	Columns      []Column     `json:"columns"` // in declared order, generated ones included
	Key          []int        `json:"key"`     // indices into Columns, in key order
	Unique       []Unique     `json:"unique,omitempty"`
	ForeignKeys  []ForeignKey `json:"foreign_keys,omitempty"`
	WithoutRowid bool         `json:"without_rowid,omitempty"`
	Strict       bool         `json:"strict,omitempty"`
}

// A Column is one column of a Table.
type Column struct {
	Name      string `json:"name"`
	Type      string `json:"type,omitempty"` // as declared
	NotNull   bool   `json:"not_null,omitempty"`
	Default   string `json:"default,omitempty"` // SQL expression, "" when none
	Generated bool   `json:"generated,omitempty"`
	Collation string `json:"collation,omitempty"` // "" is BINARY
}

// Unique is a UNIQUE index or constraint other than the primary key.
type Unique struct {
	Name    string `json:"name"`
	Columns []int  `json:"columns"`         // indices into Table.Columns; -1 is an expression
	Where   string `json:"where,omitempty"` // the predicate of a partial index
}

// ForeignKey is one REFERENCES clause.
type ForeignKey struct {
	Columns  []int    `json:"columns"` // indices into Table.Columns
	Parent   string   `json:"parent"`
	To       []string `json:"to"` // the parent's columns, resolved (never empty)
	OnDelete string   `json:"on_delete"`
	OnUpdate string   `json:"on_update"`
}

// Table returns a table by name, ASCII case folded as SQLite does, or nil.
func (s *Schema) Table(name string) *Table {
	for i := range s.Tables {
		if strings.EqualFold(s.Tables[i].Name, name) {
			return &s.Tables[i]
		}
	}
	return nil
}

// Column returns the index of a column, ASCII case folded, or -1.
func (t *Table) Column(name string) int {
	for i := range t.Columns {
		if strings.EqualFold(t.Columns[i].Name, name) {
			return i
		}
	}
	return -1
}

// Stored returns the indices of the columns that hold data: all but generated ones.
func (t *Table) Stored() []int {
	out := make([]int, 0, len(t.Columns))
	for i := range t.Columns {
		if !t.Columns[i].Generated {
			out = append(out, i)
		}
	}
	return out
}

// StoredNames returns the names of Stored.
func (t *Table) StoredNames() []string {
	out := make([]string, 0, len(t.Columns))
	for _, i := range t.Stored() {
		out = append(out, t.Columns[i].Name)
	}
	return out
}

// KeyNames returns the key's column names in key order.
func (t *Table) KeyNames() []string {
	out := make([]string, len(t.Key))
	for i, c := range t.Key {
		out[i] = t.Columns[c].Name
	}
	return out
}

// InKey reports whether column c is part of the key.
func (t *Table) InKey(c int) bool { return slices.Contains(t.Key, c) }

// Hash names the shapes: table and column names, declared types, generated
// columns and keys. Indexes, defaults and foreign keys do not change what
// travels, so they do not count.
func (s *Schema) Hash() SchemaHash {
	h := sha256.New()
	for i := range s.Tables {
		t := &s.Tables[i]
		fmt.Fprintf(h, "table %q\n", t.Name)
		for j, c := range t.Columns {
			fmt.Fprintf(h, "column %q %q %v %d\n", c.Name, strings.ToUpper(c.Type), c.Generated, slices.Index(t.Key, j))
		}
	}
	var out SchemaHash
	copy(out[:], h.Sum(nil))
	return out
}
