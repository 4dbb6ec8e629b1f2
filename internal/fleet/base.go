package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A base is where the hubs keep the rows.
type base interface {
	// address is what the hubs are told; "" for a file of their own. hasty is the same
	// for enrolling, where a crash costs nothing.
	address() string
	hasty() string
	// rows calls each for every row of the table.
	rows(ctx context.Context, each func(id, branch, note string, n int64)) error
	// remove leaves nothing behind.
	remove(ctx context.Context) error
	String() string
}

const rowsSQL = "SELECT id, branch, coalesce(note, ''), coalesce(n, -1) FROM entry"

// file is the SQLite file of the only hub. Whoever made its directory removes it.
type file serve.HubDir

func (f file) address() string              { return "" }
func (f file) hasty() string                { return "" }
func (f file) remove(context.Context) error { return nil }
func (f file) String() string               { return "SQLite" }

func (f file) rows(_ context.Context, each func(id, branch, note string, n int64)) error {
	c, err := sqlite.Open(serve.HubDir(f).DB(), sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	err = sqlite.Query(c, rowsSQL, func(s *sqlite.Stmt) error {
		each(s.ColumnText(0), s.ColumnText(1), s.ColumnText(2), s.ColumnInt64(3))
		return nil
	})
	return errors.Join(err, c.Close())
}

// count compares the hub's table with what the devices wrote, row by row.
func (f *fleet) count(ctx context.Context, r *Report) error {
	there := make([]bool, f.Devices*f.Changes)
	r.Lost, r.Wrong = len(there), 0
	err := f.base.rows(ctx, func(id, branch, text string, n int64) {
		at, ok := f.place(id, branch, text, n)
		if !ok || there[at] {
			r.Wrong++
			return
		}
		there[at] = true
		r.Lost--
	})
	if err != nil {
		return fmt.Errorf("count the changes that are in the hub's table: %w", err)
	}
	return nil
}

// place is which of all changes a row is; not ok when no device wrote it like that.
func (f *fleet) place(id, branch, text string, n int64) (at int, ok bool) {
	who, what, _ := strings.Cut(id, "-")
	device, err := strconv.Atoi(who)
	if err != nil || device < 0 || device >= f.Devices {
		return 0, false
	}
	if what != strconv.FormatInt(n, 10) || n < 0 || n >= int64(f.Changes) || branch != branchOf(device) || text != note {
		return 0, false
	}
	return device*f.Changes + int(n), true
}
