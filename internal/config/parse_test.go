package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestExampleReadsBack(t *testing.T) {
	c, err := Parse([]byte(Example))
	if err != nil {
		t.Fatal(err)
	}
	if c.Hub.Listen != ":8443" || c.Hub.Retention.Log != 30*24*time.Hour || c.Hub.Limits.Frame != 0 {
		t.Errorf("hub: %+v", c.Hub)
	}
	patient, visit, stock := c.Tables.Table("PATIENT"), c.Tables.Table("visit"), c.Tables.Table("stock")
	if patient.Scope != (rule.Scope{Kind: "branch", Column: "branch_id"}) || patient.PolicyOf("Notes") != rule.TextMix {
		t.Errorf("patient: %+v", patient)
	}
	if visit.Scope.Via != "patient_id" || len(visit.Columns["state"].States["booked"]) != 2 {
		t.Errorf("visit: %+v", visit)
	}
	if stock.OnDelete != rule.DeleteWins || stock.Checks[0].Message != "the price must not be negative" {
		t.Errorf("stock: %+v", stock)
	}
	if b := c.Tables.Table("branch"); !b.Reference || !b.Scope.All {
		t.Errorf("branch: %+v", b)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestEmptyFileIsAllDefaults(t *testing.T) {
	for _, s := range []string{"", "# nothing\n", "hub:\nedge:\ntables:\n", "---\n"} {
		c, err := Parse([]byte(s))
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		full := c.WithDefaults()
		if full.Hub.Listen != DefaultListen || full.Hub.Limits.Rows != DefaultRows || full.Edge.Redo != DefaultRedo || full.Hub.Heartbeat != DefaultHeartbeat {
			t.Errorf("%q: %+v", s, full)
		}
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	c, err := Parse([]byte(`
hub:
  name: north
  listen: 127.0.0.1:1
  url: https://hub.example.com
  limits: {frame: 1MiB, transaction: 2MiB, row: 64KiB, rows: 5, sessions: 6, in_flight: 7, queue: 8, memory: 32MiB, cache: 9MiB, rate: 60}
  redis: redis://cache.example.com
  console: {listen: "127.0.0.1:2", url: https://console.example.com, certificate: c.pem, key: k.pem, off: true}
  database: postgres://me@db.example.com/shop
  listen_database: ${DIRECT}
  pooled: true
  types: ["visit.at timestamptz"]
  replicas: [postgres://me@two.example.com/shop]
  retention: {log: 2w}
  heartbeat: 5s
  token_ttl: 1h
  copies: hold
  rollback: recover
  salvage: false
edge:
  hub: https://hub.example.com:1
  files: [a.db, b.db]
  heartbeat: 6s
  retry_max: 2m
  redo: 1GiB
  redo_age: 10d
  page: 127.0.0.1:8441
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys() {
		f := k.field(c)
		if isZero(f) {
			t.Errorf("%s was not read", k.path)
		}
		if c.line(k.path) == 0 {
			t.Errorf("%s has no line", k.path)
		}
	}
	if c.Hub.Retention.Log != 14*24*time.Hour || c.Edge.Redo != GiB || len(c.Edge.Files) != 2 {
		t.Errorf("%+v", c)
	}
}

func TestRowIsByDefaultNoLargerThanATransaction(t *testing.T) {
	c, err := Parse([]byte("hub: {limits: {transaction: 1MiB}}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.WithDefaults().Hub.Limits.Row; got != MiB {
		t.Errorf("got %s", got)
	}
}

func TestOneFileNeedsNoList(t *testing.T) {
	c, err := Parse([]byte("edge: {files: a.db}"))
	if err != nil || len(c.Edge.Files) != 1 {
		t.Errorf("%v, %v", c, err)
	}
}

// Every fault of a bad file is reported, each with its line and path.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(b)
		if err == nil {
			t.Errorf("%s: no fault", name)
			continue
		}
		golden(t, strings.TrimSuffix(name, ".yaml")+".txt", err.Error()+"\n")
	}
}

func TestTooLargeFile(t *testing.T) {
	_, err := Parse(make([]byte, MaxFile+1))
	if f := AsFaults(err); len(f) != 1 || !strings.Contains(f[0].Message, "the limit is") {
		t.Errorf("got %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tidemark.yaml")
	if _, err := Load(path); err == nil || !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("hub: {nmae: x}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), `tidemark.yaml: line 1: hub.nmae: unknown key; did you mean "name"?`) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte(Example), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || len(c.Tables.Tables) != 4 {
		t.Errorf("%v, %v", c, err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		if _, path := err.(*os.PathError); path { //nolint:errorlint // this very error, not one inside it
			return err
		}
		err = u.Unwrap()
	}
}

// Rules made in code, not read from a file, are judged too, without lines.
func TestValidateWithoutFile(t *testing.T) {
	c := &Config{}
	if err := c.Validate(); err != nil {
		t.Errorf("the zero value is usable: %v", err)
	}
	c.Tables.Tables = []rule.Table{{Name: "a.b", Scope: rule.Scope{All: true, Via: "x"}}, {Name: "c", Scope: rule.Scope{Kind: "All"}}}
	err := c.Validate()
	for _, want := range []string{`tables."a.b".scope: more than one form`, `tables.c.scope: want "all"`} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "line ") {
			t.Errorf("want %q in %v", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Example))
	files, _ := filepath.Glob("testdata/faults/*.yaml")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			if len(AsFaults(err)) == 0 {
				t.Fatalf("an error without faults: %v", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("Parse let through what Validate refuses: %v", err)
		}
	})
}

func TestWordsOfTheHubsPast(t *testing.T) {
	for text, want := range map[string]string{
		"hub: {rollback: maybe}": "hub.rollback", "hub: {salvage: yes}": "hub.salvage", "hub: {copies: some}": "hub.copies",
		"hub: {rollback: wait, salvage: true, copies: allow}": "",
	} {
		_, err := Parse([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if c := (Config{}).WithDefaults(); c.Hub.Rollback != "wait" || c.Hub.Salvage != "true" {
		t.Errorf("defaults %+v", c.Hub)
	}
}
