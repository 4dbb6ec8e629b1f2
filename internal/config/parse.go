package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark-sync/tidemark/internal/spell"
)

// MaxFile is the largest configuration read, in bytes.
const MaxFile = 4 << 20

// Parse reads and validates a configuration. The error is Faults: everything that
// is wrong with it. Keys that are absent are left zero; see WithDefaults.
func Parse(b []byte) (*Config, error) {
	d := &decoder{c: &Config{lines: map[string]int{}}}
	if len(b) > MaxFile {
		return nil, Faults{{Message: fmt.Sprintf("the file has %d bytes; the limit is %d", len(b), MaxFile)}}
	}
	root, err := readNode(b)
	if err != nil {
		return nil, syntaxFault(err)
	}
	if root != nil {
		d.section("", root)
	}
	d.c.validate(&d.faults)
	if err := d.faults.err(); err != nil {
		return nil, err
	}
	return d.c, nil
}

// readNode reads the one document of the file; nil when it is empty.
func readNode(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&more); err == nil {
		return nil, fmt.Errorf("line %d: a second document begins here; want one", more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		return doc.Content[0], nil
	}
	return nil, nil
}

var lineOf = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func syntaxFault(err error) Faults {
	s := err.Error()
	m := lineOf.FindStringSubmatch(s)
	n, _ := strconv.Atoi(m[1]) // "" gives 0: no line
	return Faults{{Line: n, Message: s[len(m[0]):]}}
}

// A decoder walks the file's nodes into c, noting faults and going on.
type decoder struct {
	c      *Config
	faults Faults
}

func (d *decoder) fault(n *yaml.Node, path, format string, args ...any) {
	d.faults = append(d.faults, Fault{Line: n.Line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// mapping calls visit for each entry of a mapping. Nothing at all (`edge:`) is an
// empty one.
func (d *decoder) mapping(n *yaml.Node, path string, visit func(name, path string, v *yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "want keys and values, not %s", kindName(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.fault(k, path, "want a name as key, not %s", kindName(k))
			continue
		}
		at := join(path, k.Value)
		if line, ok := seen[k.Value]; ok {
			d.fault(k, at, "given twice; first on line %d", line)
			continue
		}
		seen[k.Value] = k.Line
		d.c.lines[at] = k.Line
		if v.Kind == yaml.AliasNode {
			d.fault(v, at, "anchors and aliases are not supported; write it out")
			continue
		}
		visit(k.Value, at, v)
	}
}

// section reads a part of the file that keys() describes; "" is the whole of it.
func (d *decoder) section(path string, n *yaml.Node) {
	names := children(path)
	d.mapping(n, path, func(name, at string, v *yaml.Node) {
		if at == "tables" {
			d.tables(at, v)
			return
		}
		for _, k := range keys() {
			switch {
			case k.path == at:
				d.key(k, v)
				return
			case strings.HasPrefix(k.path, at+"."):
				d.section(at, v)
				return
			}
		}
		d.unknown(v, path, at, name, names)
	})
}

func (d *decoder) unknown(n *yaml.Node, in, at, name string, names []string) {
	if h := spell.Hint(name, names); h != "" {
		d.fault(n, at, "unknown key%s", h)
		return
	}
	if in == "" {
		in = "the file"
	}
	d.fault(n, at, "unknown key; %s can hold %s", in, strings.Join(names, ", "))
}

// children lists the names that may stand in a section.
func children(section string) (names []string) {
	prefix := ""
	if section != "" {
		prefix = section + "."
	}
	seen := map[string]bool{}
	for _, k := range keys() {
		rest, ok := strings.CutPrefix(k.path, prefix)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if section == "" {
		names = append(names, "tables")
	}
	return names
}

func (d *decoder) key(k key, n *yaml.Node) {
	f := k.field(d.c)
	if list, ok := f.(*[]string); ok {
		*list = d.list(n, k.path)
		return
	}
	s, ok := d.scalar(n, k.path)
	if !ok {
		return
	}
	if err := parseInto(f, s); err != nil {
		d.fault(n, k.path, "%v", err)
		return
	}
	if k.low != nil && isZero(f) { // validate takes a zero for "not set"
		d.fault(n, k.path, "%s is out of range; want %s to %s", s, spelled(k.low), spelled(k.high))
	}
}

// scalar returns a scalar's text; ok is false when there is none.
func (d *decoder) scalar(n *yaml.Node, path string) (s string, ok bool) {
	switch {
	case isNull(n):
		return "", false
	case n.Kind != yaml.ScalarNode:
		d.fault(n, path, "want one value, not %s", kindName(n))
		return "", false
	}
	return n.Value, true
}

func (d *decoder) boolean(n *yaml.Node, path string) bool {
	s, ok := d.scalar(n, path)
	if ok && s != "true" && s != "false" {
		d.fault(n, path, "want true or false, not %q", s)
	}
	return s == "true"
}

// list reads a sequence of scalars, or one scalar as a list of one.
func (d *decoder) list(n *yaml.Node, path string) (out []string) {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return []string{n.Value}
	}
	d.sequence(n, path, func(at string, v *yaml.Node) {
		if s, ok := d.scalar(v, at); ok {
			out = append(out, s)
		}
	})
	return out
}

func (d *decoder) sequence(n *yaml.Node, path string, visit func(path string, v *yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "want a list, not %s", kindName(n))
		return
	}
	for i, v := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.c.lines[at] = v.Line
		if v.Kind == yaml.AliasNode {
			d.fault(v, at, "anchors and aliases are not supported; write it out")
			continue
		}
		visit(at, v)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return strconv.Quote(n.Value)
}

// AsFaults returns the faults in an error of Parse, Validate or ValidateAgainst.
func AsFaults(err error) Faults {
	var f Faults
	errors.As(err, &f)
	return f
}
