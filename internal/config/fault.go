package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Fault is one thing that is wrong with a configuration.
type Fault struct {
	Line    int    // from 1; 0 when it came from no file
	Path    string // where, e.g. tables.orders.columns.total.policy
	Message string // what, and what to write instead
}

func (f Fault) Error() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", f.Line)
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults are all that is wrong, in the order of the file.
type Faults []Fault

func (f Faults) Error() string {
	if len(f) == 1 {
		return f[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults:", len(f))
	for _, x := range f {
		b.WriteString("\n  " + x.Error())
	}
	return b.String()
}

// err returns the faults in order, or nil when there is none.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return f
}

// add notes a fault at a path, with the line where the path or the nearest part
// of it above stands.
func (c *Config) add(f *Faults, path, format string, args ...any) {
	*f = append(*f, Fault{Line: c.line(path), Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *Config) line(path string) int {
	for path != "" {
		if n, ok := c.lines[path]; ok {
			return n
		}
		path = parentPath(path)
	}
	return 0
}

// join appends a name to a path, quoted when it would be misread.
func join(path, name string) string {
	if name == "" || strings.ContainsAny(name, ".[]\" \t\n") || !strconv.CanBackquote(name) {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// parentPath cuts the last part off a path. A quoted part is cut at its inside
// dots first, which finds nothing and does no harm.
func parentPath(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
