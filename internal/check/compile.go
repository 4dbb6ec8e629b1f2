package check

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/spell"
)

// Bounds on what a rule may be and do.
const (
	// MaxExpr is the longest expression, in code points.
	MaxExpr = 4096
	// MaxCost bounds one evaluation in CEL cost units: about one per operation,
	// plus one per ten bytes of text looked at.
	MaxCost = 100_000
	// maxNesting bounds the parser's recursion.
	maxNesting = 50
)

// A Set is the compiled checks of one table. It may be used concurrently.
type Set struct {
	table  string
	checks []compiled
}

type compiled struct {
	rule.Check
	program cel.Program
	row     []column // the columns the expression reads of row
	old     []column
}

// A column is a column of the table, as an expression spells it.
type column struct {
	name string
	at   int // index into the stored columns
}

// A Fault is a check that does not compile.
type Fault struct {
	Index int // of the check in the list given to Compile
	Name  string
	Err   error
}

func (f *Fault) Error() string { return fmt.Sprintf("check %q: %v", f.Name, f.Err) }

func (f *Fault) Unwrap() error { return f.Err }

// Compile compiles a table's checks. t may be nil, when the table is not known
// yet: then columns are not looked up, and the Set cannot be evaluated. The error
// joins one *Fault for each check at fault.
func Compile(checks []rule.Check, t *change.Table) (*Set, error) {
	env, err := cel.NewEnv(
		cel.Variable("row", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("old", cel.DynType),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(MaxExpr),
		cel.ParserRecursionLimit(maxNesting),
	)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	s := &Set{}
	var columns []string
	if t != nil {
		s.table, columns = t.Name, t.StoredNames()
	}
	var faults []error
	for i, c := range checks {
		k, err := compile(env, c, columns, t != nil)
		if err != nil {
			faults = append(faults, &Fault{Index: i, Name: c.Name, Err: err})
			continue
		}
		s.checks = append(s.checks, k)
	}
	return s, errors.Join(faults...)
}

func compile(env *cel.Env, c rule.Check, columns []string, known bool) (compiled, error) {
	out := compiled{Check: c}
	tree, issues := env.Compile(c.Expr)
	if err := issues.Err(); err != nil {
		return out, errors.New(brief(issues))
	}
	if k := tree.OutputType().Kind(); k != types.BoolKind && k != types.DynKind {
		return out, fmt.Errorf("the expression gives %s; want bool", tree.OutputType())
	}
	if known {
		r := reader{columns: columns}
		ast.PreOrderVisit(tree.NativeRep().Expr(), ast.NewExprVisitor(r.visit))
		if len(r.faults) > 0 {
			return out, errors.Join(r.faults...)
		}
		out.row, out.old = r.refs("row"), r.refs("old")
	}
	var err error
	out.program, err = env.Program(tree, cel.CostLimit(MaxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return out, fmt.Errorf("plan: %w", err)
	}
	return out, nil
}

// brief is what is wrong and where, without the drawing that CEL adds.
func brief(issues *cel.Issues) string {
	var list []string
	for _, e := range issues.Errors() {
		list = append(list, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
	}
	return strings.Join(list, "; ")
}

// A reader collects the columns that an expression reads.
type reader struct {
	columns []string
	found   map[string][]column // by variable
	whole   map[string]int      // how often a variable is used other than through a known column
	faults  []error
}

func (r *reader) visit(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		r.use(e.AsIdent(), 1)
	case ast.SelectKind:
		s := e.AsSelect()
		if s.Operand().Kind() == ast.IdentKind {
			r.read(s.Operand().AsIdent(), s.FieldName())
		}
	case ast.CallKind:
		r.call(e.AsCall())
	}
}

func (r *reader) call(c ast.CallExpr) {
	args := c.Args()
	if len(args) != 2 {
		return
	}
	switch c.FunctionName() {
	case operators.Index:
		if args[0].Kind() == ast.IdentKind && args[1].Kind() == ast.LiteralKind {
			if name, ok := args[1].AsLiteral().(types.String); ok {
				r.read(args[0].AsIdent(), string(name))
			}
		}
	case operators.Equals, operators.NotEquals: // old == null needs no column
		for i, a := range args {
			if a.Kind() == ast.IdentKind && args[1-i].Kind() == ast.LiteralKind {
				r.use(a.AsIdent(), -1)
			}
		}
	}
}

// use counts the places where a variable stands, less those that are accounted for.
func (r *reader) use(variable string, n int) {
	if r.whole == nil {
		r.whole = map[string]int{}
	}
	r.whole[variable] += n
}

func (r *reader) read(variable, name string) {
	if variable != "row" && variable != "old" {
		return
	}
	r.use(variable, -1)
	for i, c := range r.columns {
		if strings.EqualFold(c, name) {
			if r.found == nil {
				r.found = map[string][]column{}
			}
			r.found[variable] = append(r.found[variable], column{name, i})
			return
		}
	}
	r.faults = append(r.faults, fmt.Errorf("unknown column %q%s", name, spell.Hint(name, r.columns)))
}

// refs is what to hand to the expression: the columns it names, or all of them
// when it uses the variable in a way that cannot be told in advance.
func (r *reader) refs(variable string) []column {
	out := r.found[variable]
	if r.whole[variable] > 0 {
		for i, c := range r.columns {
			out = append(out, column{c, i})
		}
	}
	return out
}
