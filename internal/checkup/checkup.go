package checkup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Level says how much a finding matters.
type Level string

// The levels.
const (
	Good Level = "ok"
	Note Level = "note" // worth knowing
	Warn Level = "warn" // works, but will hurt
	Bad  Level = "bad"  // does not work
)

// A Finding is one answer of a checkup.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
}

// A List collects findings.
type List struct{ Found []Finding }

// Add adds a finding.
func (c *List) Add(check string, level Level, hint, text string, args ...any) {
	c.Found = append(c.Found, Finding{Check: check, Level: level, Text: fmt.Sprintf(text, args...), Hint: hint})
}

const (
	diskLow  = 1 << 30 // a note below
	diskTiny = 100 << 20
)

// File looks at a SQLite file from outside: nothing is written to it.
func (c *List) File(path string) {
	if !c.openable(path) {
		return
	}
	conn, err := sqlite.Open(path, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		c.Add("file", Bad, "restore it from a backup, or look with: sqlite3 "+path+" .recover", "%s cannot be opened: %v", path, err)
		return
	}
	defer func() { _ = conn.Close() }()
	c.integrity(conn, path)
	c.journal(conn)
}

func (c *List) openable(path string) bool {
	s, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Add("file", Bad, "check the path; tidemark join creates a file that is missing", "%s does not exist", path)
		return false
	case err != nil:
		c.Add("file", Bad, "", "%s cannot be read: %v", path, err)
		return false
	case s.IsDir():
		c.Add("file", Bad, "for a hub's directory: tidemark doctor --data "+path, "%s is a directory", path)
		return false
	}
	if unix.Access(path, unix.W_OK) != nil || unix.Access(filepath.Dir(path), unix.W_OK) != nil {
		c.Add("file", Bad, "the user that runs the agent must be able to write the file and its directory (SQLite puts its journal there)",
			"%s or its directory is read-only", path)
		return true
	}
	c.Add("file", Good, "", "%s, %d bytes", path, s.Size())
	return true
}

func (c *List) integrity(conn *sqlite.Conn, path string) {
	var faults []string
	err := sqlite.Query(conn, "PRAGMA integrity_check(5)", func(s *sqlite.Stmt) error {
		if t := s.ColumnText(0); t != "ok" {
			faults = append(faults, t)
		}
		return nil
	})
	if err != nil {
		faults = append(faults, err.Error())
	}
	if len(faults) > 0 {
		c.Add("integrity", Bad, "stop the application, keep a copy, then: sqlite3 "+path+" .recover, or restore a backup; work that the hub has comes back by joining again",
			"the file is damaged: %s", strings.Join(faults, "; "))
		return
	}
	c.Add("integrity", Good, "", "integrity_check passes")
}

// journal is trap S22: rollback journals work, but readers and writers wait for
// each other.
func (c *List) journal(conn *sqlite.Conn) {
	v, _, err := sqlite.One(conn, "PRAGMA journal_mode")
	switch {
	case err != nil:
		c.Add("journal", Bad, "", "journal mode cannot be read: %v", err)
	case strings.EqualFold(v.Str(), "wal"):
		c.Add("journal", Good, "", "journal mode is WAL")
	default:
		c.Add("journal", Warn, "once, from the application or the shell: PRAGMA journal_mode=WAL",
			"journal mode is %s: it works, but the application waits while the agent writes, and the other way round", v.Str())
	}
	c.Add("busy_timeout", Note, "in the application, per connection: PRAGMA busy_timeout=5000",
		"an application without busy_timeout gets \"database is locked\" in the moment the agent writes")
}

// Disk looks at the free space where path is.
func (c *List) Disk(path string) {
	var s unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &s); err != nil {
		c.Add("disk", Note, "", "free space cannot be read: %v", err)
		return
	}
	c.space(int64(s.Bavail) * s.Bsize)
}

// space judges a number of free bytes.
func (c *List) space(free int64) {
	mib := free >> 20
	switch {
	case free < diskTiny:
		c.Add("disk", Bad, "free some space: a full disk stops the application's own writes too", "%d MiB free", mib)
	case free < diskLow:
		c.Add("disk", Warn, "free some space before a bootstrap or a long offline spell", "%d MiB free", mib)
	default:
		c.Add("disk", Good, "", "%d MiB free", mib)
	}
}

// Engines names the SQLite libraries that applications on this machine are
// likely to use, and warns of those that can damage a WAL (trap S14).
func (c *List) Engines(ctx context.Context) {
	probes := []struct {
		name string
		cmd  []string
	}{
		{"sqlite3 shell", []string{"sqlite3", "--version"}},
		{"python3", []string{"python3", "-c", "import sqlite3; print(sqlite3.sqlite_version)"}},
	}
	for _, p := range probes {
		out, err := exec.CommandContext(ctx, p.cmd[0], p.cmd[1:]...).Output()
		if err != nil {
			continue // not installed: no application uses it
		}
		v := versionText.FindString(string(out))
		if v == "" {
			continue
		}
		if risky(v) {
			c.Add("sqlite", Warn, "update SQLite to 3.51.3 or newer where you can; until then avoid several processes checkpointing at once",
				"the %s has SQLite %s: 3.7.0 to 3.51.2 can, rarely, damage a WAL when it is reset while another connection writes", p.name, v)
		} else {
			c.Add("sqlite", Good, "", "the %s has SQLite %s", p.name, v)
		}
	}
}

var versionText = regexp.MustCompile(`\d+\.\d+\.\d+`)

// risky reports whether a SQLite version is between 3.7.0 and 3.51.2.
func risky(v string) bool {
	n := 0
	for i, part := range strings.SplitN(v, ".", 3) {
		x, err := strconv.Atoi(part)
		if err != nil {
			return false
		}
		n += x * [3]int{1_000_000, 1_000, 1}[i]
	}
	return n >= 3_007_000 && n <= 3_051_002
}

// Host is the host and port of a URL, or the text itself when it is none.
func Host(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	return u.Host
}
