package disk

import (
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Versions asks PRAGMA data_version, which moves when another connection commits.
type Versions struct {
	Path string // of the SQLite file
	conn *sqlite.Conn
	last int64
}

// Changed reports whether there was such a commit since the last call; at the first
// one, whether the file can be read.
func (v *Versions) Changed() bool {
	if v.conn == nil {
		c, err := sqlite.Open(v.Path, sqlite.Options{ReadOnly: true, MustExist: true, Busy: -1})
		if err != nil {
			return false
		}
		v.conn, v.last = c, -1
	}
	n, ok, err := sqlite.One(v.conn, "PRAGMA data_version")
	if err != nil || !ok {
		v.Close() // replaced or unreadable: start over at the next tick
		return false
	}
	moved := n.Int() != v.last
	v.last = n.Int()
	return moved
}

// Close closes the connection.
func (v *Versions) Close() {
	if v.conn != nil {
		_ = v.conn.Close()
		v.conn = nil
	}
}
