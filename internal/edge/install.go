package edge

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// InstallOptions say how to enrol a file.
type InstallOptions struct {
	// DeferTriggers leaves the capture triggers out: a bootstrap into empty tables
	// fills them first and calls createTriggers at its end.
	DeferTriggers bool
}

// InstallReport tells what Install found and did, for the person who asked.
type InstallReport struct {
	Created  []string // tables made because the file lacked them
	Guarded  []Guard  // the app's triggers that are now silent while Tidemark applies
	Left     []string // the app's triggers that keep running at apply: they keep local-only tables
	Warnings []string // differences that sync can live with
}

// Install enrols the file, or brings an enrolled one up to a new setup: it makes
// Tidemark's own tables, the synced tables that the file lacks, and the capture
// triggers, in one transaction. A file whose tables cannot sync is refused with
// every reason, and left as it was. The device is kept for life: another one is
// refused.
func (e *Engine) Install(setup *wire.Setup, device change.DeviceID, o InstallOptions) (*InstallReport, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.install(setup, device, o)
}

func (e *Engine) install(setup *wire.Setup, device change.DeviceID, o InstallOptions) (*InstallReport, error) {
	rep := &InstallReport{}
	err := sqlite.Immediate(e.conn, func() error {
		if err := e.installLayout(device); err != nil {
			return err
		}
		if e.setup != nil { // what was captured so far is numbered by the old setup
			if _, err := e.export(e.cfg.Clock.Now()); err != nil {
				return err
			}
		}
		if err := e.installTables(setup, rep); err != nil {
			return err
		}
		return e.installTriggers(rep, o)
	})
	if err != nil {
		if e2 := e.load(); e2 != nil { // back to what the file says
			err = errors.Join(err, e2)
		}
		return nil, fmt.Errorf("install: %w", err)
	}
	return rep, nil
}

// installLayout makes Tidemark's own tables and the file's identity.
func (e *Engine) installLayout(device change.DeviceID) error {
	if e.setup != nil {
		if e.device != device {
			return fmt.Errorf("the file belongs to device %s, not %s: detach it first", e.device, device)
		}
		return nil
	}
	if err := sqlite.Script(e.conn, layoutSQL); err != nil {
		return fmt.Errorf("create layout: %w", err)
	}
	if err := e.setMeta(metaFormat, change.Int(layoutFormat)); err != nil {
		return err
	}
	if err := e.setMeta(metaDevice, change.Text(device.String())); err != nil {
		return err
	}
	e.device = device
	if err := e.newIncarnation(); err != nil {
		return err
	}
	return e.rotateSeed()
}

// installTables makes missing tables, checks existing ones against the setup,
// and numbers them for the undo log, which must be empty.
func (e *Engine) installTables(setup *wire.Setup, rep *InstallReport) error {
	created, err := e.createMissing(setup)
	if err != nil {
		return err
	}
	rep.Created = created
	if err := e.checkSchema(setup, rep); err != nil {
		return err
	}
	if err := e.dropTriggers(); err != nil { // they are numbered by the setup before
		return err
	}
	if err := e.setMeta(metaForms, change.Null); err != nil {
		return err
	}
	raw, err := json.Marshal(setup)
	if err != nil {
		return fmt.Errorf("encode setup: %w", err)
	}
	if err := e.setMeta(metaSetup, change.Text(string(raw))); err != nil {
		return err
	}
	if err := sqlite.Exec(e.conn, `DELETE FROM _tidemark_table`); err != nil {
		return err
	}
	for i := range setup.Schema.Tables {
		err := sqlite.Exec(e.conn, `INSERT INTO _tidemark_table (id, name) VALUES (?, ?)`,
			change.Int(int64(i+1)), change.Text(setup.Schema.Tables[i].Name))
		if err != nil {
			return err
		}
	}
	e.setup = setup
	if err := e.loadTables(); err != nil {
		return err
	}
	return e.renamePending()
}

func (e *Engine) installTriggers(rep *InstallReport, o InstallOptions) error {
	if err := e.createUndo(); err != nil {
		return err
	}
	err := e.noteShared()
	if err != nil {
		return err
	}
	if rep.Guarded, rep.Left, err = e.guardTriggers(); err != nil {
		return err
	}
	if err := e.installLeases(); err != nil {
		return err
	}
	if o.DeferTriggers {
		if err := e.setMeta(metaCapture, change.Int(0)); err != nil {
			return err
		}
		return e.noteVersion()
	}
	return e.createTriggers()
}

// createUndo makes the capture log as wide as the widest table needs. It is
// empty whenever the setup changes, so widening it is making it anew.
func (e *Engine) createUndo() error {
	width := 0
	for i := range e.setup.Schema.Tables {
		width = max(width, len(e.setup.Schema.Tables[i].Stored()))
	}
	sql := `DROP TABLE IF EXISTS _tidemark_undo;
CREATE TABLE _tidemark_undo (
  seq  INTEGER PRIMARY KEY,                      -- order of writing
  rid  INTEGER NOT NULL DEFAULT (random()),      -- the record's identity, for copies of the file (trap D22)
  at   REAL NOT NULL DEFAULT (julianday('now')), -- wall clock
  tbl  INTEGER NOT NULL,                         -- _tidemark_table.id; 0: the app began transaction tx
  kind INTEGER NOT NULL,                         -- undoKind
  mask INTEGER NOT NULL DEFAULT 0,               -- see undoPartial`
	for i := range width {
		sql += fmt.Sprintf(",\n  v%d", i)
	}
	if err := sqlite.Script(e.conn, sql+"\n);"); err != nil {
		return fmt.Errorf("create undo log: %w", err)
	}
	return nil
}
