package config

import "strings"

// An Affinity is what SQLite makes of a column's declared type
// (https://www.sqlite.org/datatype3.html, §3.1).
type Affinity string

// The affinities.
const (
	Integer Affinity = "INTEGER"
	Text    Affinity = "TEXT"
	Blob    Affinity = "BLOB"
	Real    Affinity = "REAL"
	Numeric Affinity = "NUMERIC"
)

// AffinityOf applies SQLite's rules, in their order, to a declared type.
func AffinityOf(declared string) Affinity {
	t := strings.ToUpper(declared)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(t, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return Integer
	case has("CHAR", "CLOB", "TEXT"):
		return Text
	case t == "" || has("BLOB"):
		return Blob
	case has("REAL", "FLOA", "DOUB"):
		return Real
	}
	return Numeric
}
