// Package rule holds what tidemark.yaml decides about each table: which rows go
// where, who wins a conflict, who may write, what a valid row is.
//
// Rules are plain values. The config room reads them from YAML, the hub obeys
// them, and edges receive the part they need when they connect.
package rule

import (
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// Policy names a conflict policy of the merge room.
type Policy string

// The policies. Their meaning and laws are in internal/merge.
const (
	Latest  Policy = "latest"  // later hybrid logical clock wins; the default
	Arrival Policy = "arrival" // later arrival at the hub wins
	Hub     Policy = "hub"     // the hub's value stays
	Edge    Policy = "edge"    // the edge's value wins
	Counter Policy = "counter" // hub + (new − base)
	Min     Policy = "min"
	Max     Policy = "max"
	Set     Policy = "set"    // union of a JSON array's elements
	TextMix Policy = "text"   // three-way text merge
	States  Policy = "states" // only allowed transitions
	Manual  Policy = "manual" // parks for a person
)

// Commutes reports whether two edits under p can be applied in either order
// with one result, so that an edit does not depend on a parked one. Set does not:
// adding an element and then removing it is not removing and then adding it.
func (p Policy) Commutes() bool {
	switch p {
	case Counter, Min, Max:
		return true
	}
	return false
}

// Computed reports whether the value on an edge's screen is the hub's value with
// the pending edits applied to it, not the pending value itself.
func (p Policy) Computed() bool { return p.Commutes() || p == Set }

// Rules are the decisions for all synced tables.
type Rules struct {
	Tables []Table `json:"tables"`
}

// Table returns the rule for a table, ASCII case folded, or nil: it does not sync.
func (r *Rules) Table(name string) *Table {
	for i := range r.Tables {
		if strings.EqualFold(r.Tables[i].Name, name) {
			return &r.Tables[i]
		}
	}
	return nil
}

// A Table is the decisions for one table.
type Table struct {
	Name      string            `json:"name"`
	Scope     Scope             `json:"scope"`
	Policy    Policy            `json:"policy,omitempty"` // for columns without their own; "" is Latest
	ByRow     bool              `json:"by_row,omitempty"` // conflicts concern whole rows, not columns
	Columns   map[string]Column `json:"columns,omitempty"`
	OnDelete  DeletePolicy      `json:"on_delete,omitempty"`
	Keys      KeyKind           `json:"keys,omitempty"`
	Reference bool              `json:"reference,omitempty"` // read-only at edges, sent where a synced row needs it
	Checks    []Check           `json:"checks,omitempty"`
	Was       []string          `json:"was,omitempty"`     // other names of the table: earlier ones, or one that some files have already
	Dropped   []string          `json:"dropped,omitempty"` // columns given up: values for them are let go
}

// PolicyOf returns the policy in force for a column.
func (t *Table) PolicyOf(column string) Policy {
	if c, ok := t.Columns[strings.ToLower(column)]; ok && c.Policy != "" {
		return c.Policy
	}
	if t.Policy != "" {
		return t.Policy
	}
	return Latest
}

// Column is the decisions for one column. Rules.Columns is keyed by lower-case name.
type Column struct {
	Policy Policy              `json:"policy,omitempty"`
	States map[string][]string `json:"states,omitempty"` // for States: from → allowed next
	Was    []string            `json:"was,omitempty"`    // other names of the column
	Lease  *Lease              `json:"lease,omitempty"`  // its numbers come from ranges, one device each
	// Floor makes a counter bounded: its value never goes below, whoever is offline.
	Floor *int64 `json:"floor,omitempty"`
}

// A Lease says how numbers are handed out to devices.
type Lease struct {
	Size  int64 `json:"size"`  // numbers in a range
	Low   int64 `json:"low"`   // numbers left at which a device asks for more
	Start int64 `json:"start"` // the first number of all
}

// DeletePolicy says what happens when a delete meets a concurrent update.
type DeletePolicy string

// The delete policies.
const (
	UpdateWins DeletePolicy = "update-wins" // default: no silent loss of work
	DeleteWins DeletePolicy = "delete-wins"
)

// KeyKind says who chooses a table's keys.
type KeyKind string

// The key kinds.
const (
	KeysGlobal      KeyKind = ""             // unique everywhere, e.g. UUIDs
	KeysAppAssigned KeyKind = "app-assigned" // integers chosen by the app: collisions are quarantined
	KeysLeased      KeyKind = "leased"       // integers from leased ranges: see Column.Lease
)

// A Check is a declared CEL rule that each inserted or updated row must satisfy.
type Check struct {
	Name    string `json:"name"`
	Expr    string `json:"expr"`              // CEL over `row` (new) and `old` (null on insert)
	Message string `json:"message,omitempty"` // what to tell the person
}

// A Scope says which rows of a table go where. Exactly one form is set:
//
//	All              every device
//	Kind and Column  the scope Kind/value, e.g. branch/7
//	Via              the scope of the parent row that the foreign key on column Via names
type Scope struct {
	All    bool   `json:"all,omitempty"`
	Kind   string `json:"kind,omitempty"`
	Column string `json:"column,omitempty"`
	Via    string `json:"via,omitempty"`
}

// ScopeID names one scope: "all" or "kind/value".
type ScopeID string

// ScopeAll is the scope of rows that go everywhere.
const ScopeAll ScopeID = "all"

// Of builds the scope a row with this value in its scope column belongs to.
// A NULL belongs to no scope ("").
func Of(kind string, v change.Value) ScopeID {
	switch v.Kind() {
	case change.KindNull:
		return ""
	case change.KindText, change.KindBlob:
		return ScopeID(kind + "/" + v.Str())
	}
	return ScopeID(kind + "/" + v.String())
}

// Verb is a right over rows of a scope.
type Verb uint8

// The verbs, as bits.
const (
	Read Verb = 1 << iota
	Insert
	Update
	Delete

	Write = Insert | Update | Delete
	Every = Read | Write
)

// A Grant gives a device verbs over a scope. Every grant includes Read.
type Grant struct {
	Scope ScopeID `json:"scope"`
	Verbs Verb    `json:"verbs"`
}
