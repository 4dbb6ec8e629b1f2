package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tidemark-sync/tidemark"

// plan says which rooms of this module each room's code may import. Data walks
// one way: a room may only look at rooms further down. Test files may look
// anywhere. ARCHITECTURE.md shows the same table.
var plan = map[string][]string{
	// The words and the clock: leaves.
	"change":         {},
	"internal/clock": {"change"},

	// The corridor, from the bottom up.
	"internal/rule":              {"change"},
	"internal/sqlite":            {"change"},
	"internal/merge":             {"change", "internal/rule"},
	"internal/check":             {"change", "internal/rule", "internal/spell"},
	"internal/spell":             {},
	"internal/parcel":            {"change"},
	"internal/wire":              {"change", "internal/rule", "internal/wire/pb"},
	"internal/wire/pb":           {},
	"internal/wire/pb/pbconnect": {"internal/wire/pb"},
	"internal/wire/transport":    {"change", "internal/clock", "internal/wire", "internal/wire/pb", "internal/wire/pb/pbconnect"},
	"internal/edge":              {"change", "internal/clock", "internal/rule", "internal/sqlite", "internal/merge", "internal/wire"},
	"internal/hub":               {"change", "internal/clock", "internal/rule", "internal/merge", "internal/check", "internal/wire", "internal/parcel"},
	"internal/store/ledger":      {"change", "internal/clock", "internal/rule", "internal/hub"},
	"internal/store/sqlite":      {"change", "internal/clock", "internal/rule", "internal/sqlite", "internal/hub", "internal/store/ledger"},
	"internal/store/postgres":    {"change", "internal/clock", "internal/rule", "internal/hub", "internal/store/ledger"},
	"internal/store/storetest":   {"change", "internal/clock", "internal/rule", "internal/sqlite", "internal/hub"},

	// What the services stand on.
	"internal/disk":    {"internal/sqlite"},
	"internal/checkup": {"internal/sqlite"},
	"internal/cable":   {},
	"internal/admit":   {"change", "internal/clock"},
	"internal/cache":   {"internal/clock"},

	// The servers that tests run against.
	"internal/ward":   {},
	"internal/pgtest": {"internal/ward"},

	// The services, one for each side. The application has the edge's in its own
	// process, so it must not see the hub's: the SDK's closure is a golden file.
	"internal/run": {"change", "internal/clock", "internal/sqlite", "internal/edge", "internal/wire", "internal/wire/transport",
		"internal/disk", "internal/checkup"},
	// The edge's page reads files through run, as the command line does. It is a room of
	// its own, above run, because an application that has run in its process does not
	// serve pages.
	"internal/page": {"change", "internal/clock", "internal/run"},
	// The page for people.
	"console": {},

	// Who may come in to the hub, and its front door for people.
	"internal/people":           {"change", "internal/clock", "internal/hub"},
	"internal/api":              {"change", "internal/clock", "internal/rule", "internal/merge", "internal/wire", "internal/hub", "internal/people", "internal/api/pb", "internal/api/pb/pbconnect"},
	"internal/api/pb":           {},
	"internal/api/pb/pbconnect": {"internal/api/pb"},
	"internal/serve": {"change", "internal/clock", "internal/rule", "internal/sqlite", "internal/hub", "internal/wire", "internal/wire/transport",
		"internal/store/sqlite", "internal/store/postgres", "internal/config", "internal/disk", "internal/checkup", "internal/parcel", "internal/admit", "internal/cache",
		"internal/people", "internal/api"},
	"": {"change", "internal/clock", "internal/sqlite", "internal/edge", "internal/wire", "internal/wire/transport", "internal/disk", "internal/run"},

	// The doors.
	"internal/config":   {"change", "internal/rule", "internal/check", "internal/spell"},
	"internal/proposal": {"change", "internal/rule", "internal/sqlite", "internal/config"},
}

// doors may import any room, and no room may import them, but a door above it.
var doors = []string{"internal/demo", "internal/fleet", "internal/sim", "cmd/", "bench", "e2e", "tidemarktest", "internal/archtest"}

// bare lists outside packages that only the named rooms may import.
var bare = map[string][]string{
	"zombiezen.com/go/sqlite":     {"internal/sqlite", "internal/store/sqlite", "internal/edge", "internal/store/storetest", "internal/sim", "bench"},
	"github.com/jackc/pgx":        {"internal/store/postgres", "internal/pgtest", "internal/fleet", "bench"},
	"github.com/redis/go-redis":   {"internal/cache"},
	"connectrpc.com/connect":      {"internal/wire", "internal/api", "cmd/"},
	"golang.org/x/crypto":         {"internal/people"},
	"github.com/pquerna/otp":      {"internal/people"},
	"github.com/go-webauthn":      {"internal/people"},
	"github.com/spf13/cobra":      {"cmd/"},
	"filippo.io/age":              {"internal/parcel", "cmd/"},
	"cel.dev/cel-go":              {"internal/check"},
	"github.com/fsnotify":         {"internal/run", ""},
	"modernc.org":                 {"internal/sqlite"}, // the engine itself
	"github.com/mattn/go-sqlite3": {},
}

// A file is one parsed source file.
type file struct {
	room string // directory below the module root, "" for the root
	name string
	test bool
	ast  *ast.File
	set  *token.FileSet
}

func sources(t *testing.T) []file {
	t.Helper()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("find the module root: %v", err)
	}
	var out []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if p != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || base == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		room, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		room = filepath.ToSlash(room)
		if room == "." {
			room = ""
		}
		out = append(out, file{room: room, name: path.Join(room, base), test: strings.HasSuffix(base, "_test.go"), ast: f, set: set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 30 {
		t.Fatalf("read only %d source files: the walk does not see the house", len(out))
	}
	return out
}

func under(room string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		if p == "" {
			return room == ""
		}
		return room == strings.TrimSuffix(p, "/") || strings.HasPrefix(room, strings.TrimSuffix(p, "/")+"/")
	})
}

func imports(f file) []string {
	var out []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			out = append(out, p)
		}
	}
	return out
}

func TestRoomsImportOneWay(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || under(f.room, doors) {
			continue
		}
		allowed, known := plan[f.room]
		if !known {
			t.Errorf("%s: room %q is not in the plan: add it to plan, and to ARCHITECTURE.md", f.name, f.room)
			continue
		}
		for _, p := range imports(f) {
			rest, ours := strings.CutPrefix(p, module)
			rest = strings.TrimPrefix(rest, "/")
			if ours && !slices.Contains(allowed, rest) {
				t.Errorf("%s: %s may not import %s", f.name, f.room, rest)
			}
		}
	}
}

func TestOutsidePackagesStayInTheirRooms(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, p := range imports(f) {
			for prefix, rooms := range bare {
				if (p == prefix || strings.HasPrefix(p, prefix+"/")) && !under(f.room, rooms) {
					t.Errorf("%s imports %s, which only %q may", f.name, p, rooms)
				}
			}
		}
	}
}

// The core is values in, values out: rooms of the corridor below the store start
// no goroutine, and nobody but the clock asks the time.
func TestOnlyTheClockAsksTheTime(t *testing.T) {
	asking := []string{"Now", "Since", "Until"}
	for _, f := range sources(t) {
		if f.test || under(f.room, []string{"internal/clock", "bench", "e2e"}) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && slices.Contains(asking, sel.Sel.Name) {
				t.Errorf("%s: time.%s outside internal/clock", f.set.Position(n.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

func TestTheCoreStartsNoGoroutine(t *testing.T) {
	core := []string{"change", "internal/merge", "internal/rule", "internal/check", "internal/edge", "internal/hub"}
	for _, f := range sources(t) {
		if f.test || !under(f.room, core) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a goroutine in the core", f.set.Position(g.Pos()))
			}
			return true
		})
		for _, p := range imports(f) {
			if p == "net" || p == "net/http" || p == "math/rand" {
				t.Errorf("%s: the core imports %s", f.name, p)
			}
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || strings.HasSuffix(f.name, ".pb.go") {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init", f.set.Position(fn.Pos()))
			}
		}
	}
}

func TestEveryRoomHasItsDoc(t *testing.T) {
	documented := map[string]bool{}
	rooms := map[string]bool{}
	for _, f := range sources(t) {
		if f.test || under(f.room, []string{"internal/wire/pb", "internal/api/pb"}) {
			continue
		}
		rooms[f.room] = true
		if f.ast.Doc != nil {
			documented[f.room] = true
		}
	}
	for room := range rooms {
		if !documented[room] {
			t.Errorf("room %q has no package comment", room)
		}
	}
}

// Sizes are smells: beyond these, ask what is hiding in there.
func TestSizes(t *testing.T) {
	const fileLines, funcLines, fields = 500, 60, 25
	for _, f := range sources(t) {
		if f.test || under(f.room, []string{"internal/wire/pb", "internal/api/pb"}) {
			continue
		}
		if n := f.set.Position(f.ast.End()).Line; n > fileLines {
			t.Errorf("%s has %d lines, more than %d", f.name, n, fileLines)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if lines := f.set.Position(n.End()).Line - f.set.Position(n.Pos()).Line + 1; lines > funcLines {
					t.Errorf("%s: func %s has %d lines, more than %d", f.set.Position(n.Pos()), n.Name.Name, lines, funcLines)
				}
			case *ast.StructType:
				if n.Fields.NumFields() > fields {
					t.Errorf("%s: a struct of %d fields, more than %d", f.set.Position(n.Pos()), n.Fields.NumFields(), fields)
				}
			}
			return true
		})
	}
}
