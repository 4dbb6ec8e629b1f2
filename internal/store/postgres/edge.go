package postgresstore

import (
	"regexp"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

var (
	plainNumber = regexp.MustCompile(`^\(?(-?[0-9]+(?:\.[0-9]+)?)\)?$`)
	plainText   = regexp.MustCompile(`^('(?:[^']|'')*')(?:::[a-zA-Z_ ."]+(?:\([0-9, ]+\))?)?$`)
	nowText     = regexp.MustCompile(`^(?:now\(\)|CURRENT_TIMESTAMP|clock_timestamp\(\)|transaction_timestamp\(\)|statement_timestamp\(\)|LOCALTIMESTAMP)(?:\([0-6]\))?$`)
)

// uuidV4 makes a random UUID in SQLite.
const uuidV4 = `(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || substr(lower(hex(randomblob(2))), 2) || '-' || ` +
	`substr('89ab', 1 + (abs(random()) % 4), 1) || substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))`

// edgeDefault is a default in SQLite's words; "" when there is none, or none that
// means the same there.
func edgeDefault(expr string, c *column) string {
	switch {
	case expr == "" || strings.HasPrefix(expr, "NULL::"):
		return ""
	case expr == "true" || expr == "false":
		return map[string]string{"true": "1", "false": "0"}[expr]
	case expr == "gen_random_uuid()" || expr == "uuid_generate_v4()":
		return uuidV4
	case expr == "CURRENT_DATE" && c.form == formDate:
		return "CURRENT_DATE"
	case nowText.MatchString(expr):
		if c.form == formMoment || c.form == formStamp {
			return "CURRENT_TIMESTAMP"
		}
		return ""
	}
	var text string
	if m := plainNumber.FindStringSubmatch(expr); m != nil {
		text = m[1]
	} else if m := plainText.FindStringSubmatch(expr); m != nil {
		text = strings.ReplaceAll(m[1][1:len(m[1])-1], "''", "'")
		if c.form == formBytes {
			return blobDefault(text)
		}
	} else {
		return ""
	}
	p, err := c.put(c.affinity.Store(change.Text(text)))
	if err != nil || !p.sure {
		return ""
	}
	return p.now.String()
}

func blobDefault(text string) string {
	hex, ok := strings.CutPrefix(text, `\x`)
	if !ok || strings.ContainsAny(hex, `\'`) {
		return ""
	}
	return "x'" + hex + "'"
}

// edgeTable is the statement that creates a relation's table at an edge. Generated
// columns are left out: the hub computes them.
func (r *relation) edgeTable() string {
	var parts []string
	for i := range r.def.Columns {
		d := &r.def.Columns[i]
		if d.Generated {
			continue
		}
		p := quote(d.Name) + " " + d.Type
		if d.NotNull || r.def.InKey(i) {
			p += " NOT NULL"
		}
		if d.Default != "" {
			p += " DEFAULT " + d.Default
		}
		if d.Collation != "" {
			p += " COLLATE " + d.Collation
		}
		parts = append(parts, p)
	}
	parts = append(parts, "PRIMARY KEY ("+r.list(r.def.Key)+")")
	for _, u := range r.def.Unique {
		if u.Where == "" && r.travels(u.Columns) {
			parts = append(parts, "UNIQUE ("+r.list(u.Columns)+")")
		}
	}
	for _, fk := range r.def.ForeignKeys {
		if !r.travels(fk.Columns) {
			continue
		}
		to := make([]string, len(fk.To))
		for i, n := range fk.To {
			to[i] = quote(n)
		}
		p := "FOREIGN KEY (" + r.list(fk.Columns) + ") REFERENCES " + quote(fk.Parent) + " (" + strings.Join(to, ", ") + ")"
		if fk.OnDelete != "NO ACTION" {
			p += " ON DELETE " + fk.OnDelete
		}
		if fk.OnUpdate != "NO ACTION" {
			p += " ON UPDATE " + fk.OnUpdate
		}
		parts = append(parts, p)
	}
	return "CREATE TABLE " + quote(r.def.Name) + " (\n\t" + strings.Join(parts, ",\n\t") + "\n)"
}

// travels reports whether all of some columns are at edges, too.
func (r *relation) travels(cols []int) bool {
	for _, c := range cols {
		if c < 0 || r.def.Columns[c].Generated {
			return false
		}
	}
	return true
}

func (r *relation) list(cols []int) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = quote(r.def.Columns[c].Name)
	}
	return strings.Join(out, ", ")
}
