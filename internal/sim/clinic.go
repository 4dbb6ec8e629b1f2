package sim

import "github.com/tidemark-sync/tidemark/internal/rule"

// The schema of the simulated world: a clinic chain. Every transaction of an
// application writes one ledger row with an id nobody else uses, so that the
// oracle can tell whether the transaction is at the hub, and how often.
var clinicDDL = []string{
	`CREATE TABLE branch (id TEXT PRIMARY KEY, name TEXT NOT NULL)`,
	`CREATE TABLE patient (id TEXT PRIMARY KEY, branch_id TEXT NOT NULL REFERENCES branch(id),
		name TEXT, phone TEXT, note TEXT, visits INTEGER NOT NULL DEFAULT 0)`,
	`CREATE TABLE visit (id TEXT PRIMARY KEY, patient_id TEXT NOT NULL REFERENCES patient(id) ON DELETE CASCADE, body TEXT)`,
	`CREATE TABLE stock (id TEXT PRIMARY KEY, item TEXT UNIQUE, qty INTEGER NOT NULL, low INTEGER NOT NULL)`,
	`CREATE TABLE account (id TEXT PRIMARY KEY, balance INTEGER NOT NULL)`,
	`CREATE TABLE tag (id TEXT PRIMARY KEY, label TEXT NOT NULL UNIQUE, ledger_id TEXT NOT NULL REFERENCES ledger(id))`,
	`CREATE TABLE ledger (id TEXT PRIMARY KEY, what TEXT NOT NULL)`,
	`CREATE TABLE once (id TEXT PRIMARY KEY, body TEXT)`,
}

// shuffledDDL is the same tables with their columns in another order, as a site
// that grew by itself would have them: a core that went by position would mix
// them up.
var shuffledDDL = []string{
	`CREATE TABLE branch (name TEXT NOT NULL, id TEXT PRIMARY KEY)`,
	`CREATE TABLE patient (visits INTEGER NOT NULL DEFAULT 0, note TEXT, phone TEXT, name TEXT, id TEXT PRIMARY KEY,
		branch_id TEXT NOT NULL REFERENCES branch(id))`,
	`CREATE TABLE visit (body TEXT, patient_id TEXT NOT NULL REFERENCES patient(id) ON DELETE CASCADE, id TEXT PRIMARY KEY)`,
	`CREATE TABLE stock (low INTEGER NOT NULL, qty INTEGER NOT NULL, item TEXT UNIQUE, id TEXT PRIMARY KEY)`,
	`CREATE TABLE account (balance INTEGER NOT NULL, id TEXT PRIMARY KEY)`,
	`CREATE TABLE tag (ledger_id TEXT NOT NULL REFERENCES ledger(id), label TEXT NOT NULL UNIQUE, id TEXT PRIMARY KEY)`,
	`CREATE TABLE ledger (what TEXT NOT NULL, id TEXT PRIMARY KEY)`,
	`CREATE TABLE once (body TEXT, id TEXT PRIMARY KEY)`,
}

// clinicRules covers each form of scope and a policy of each character.
func clinicRules() *rule.Rules {
	all := rule.Scope{All: true}
	return &rule.Rules{Tables: []rule.Table{
		{Name: "account", Scope: all, Columns: map[string]rule.Column{"balance": {Policy: rule.Counter}}},
		{Name: "branch", Scope: all, Policy: rule.Hub},
		{Name: "ledger", Scope: all, Checks: []rule.Check{{Name: "sane", Expr: `row.what != "poison"`, Message: "poison is not allowed"}}},
		{Name: "once", Scope: all},
		{Name: "patient", Scope: rule.Scope{Kind: "branch", Column: "branch_id"}, Columns: map[string]rule.Column{
			"visits": {Policy: rule.Counter}, "note": {Policy: rule.TextMix}, "name": {Policy: rule.Arrival}}},
		{Name: "stock", Scope: all, Columns: map[string]rule.Column{"qty": {Policy: rule.Counter}, "low": {Policy: rule.Min}}},
		{Name: "tag", Scope: all},
		{Name: "visit", Scope: rule.Scope{Via: "patient_id"}},
	}}
}
