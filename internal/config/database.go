package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

var (
	variable      = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	wholeVariable = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)
)

// Expand puts the values of environment variables, as lookup finds them, in the place
// of ${NAME} in a database's address. Where the address is more than one variable,
// values are escaped as a URL wants it. A variable that is not set is an error.
func Expand(dsn string, lookup func(string) (string, bool)) (string, error) {
	var missing error
	whole := wholeVariable.MatchString(dsn)
	out := variable.ReplaceAllStringFunc(dsn, func(m string) string {
		name := m[2 : len(m)-1]
		v, ok := lookup(name)
		if !ok && missing == nil {
			missing = fmt.Errorf("the environment variable %s is not set, which the address names", name)
		}
		if whole {
			return v
		}
		return strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
	})
	if missing != nil {
		return "", missing
	}
	return out, nil
}

// Redact is a database's address without anything secret, for people.
func Redact(dsn string) string {
	if !strings.Contains(dsn, "://") {
		return "PostgreSQL"
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "PostgreSQL"
	}
	out := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil && u.User.Username() != "" {
		out.User = url.User(u.User.Username())
	}
	if host := u.Query().Get("host"); host != "" && out.Host == "" {
		out.RawQuery = url.Values{"host": {host}}.Encode()
	}
	return out.String()
}

// ColumnTypes reads hub.types: the type of each column, by "table.column" in lower
// case.
func (d *Database) ColumnTypes() (map[string]string, error) {
	out := map[string]string{}
	for _, line := range d.Types {
		name, typ, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.Contains(name, ".") {
			return nil, fmt.Errorf("hub.types: want table.column and a type, such as \"visit.seen_at timestamptz\", not %q", line)
		}
		out[strings.ToLower(name)] = strings.TrimSpace(typ)
	}
	return out, nil
}
