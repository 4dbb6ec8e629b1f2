package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// JoinConfig says which file joins, and with what.
type JoinConfig struct {
	Edge
	Token string // as `tidemark device add` printed it
	// Fill makes a file that does not exist yet complete at once, from a snapshot
	// that the hub prepared, when it can. Any other file is filled by its first sync.
	Fill     bool
	Progress func(done, total int64) // bytes of the snapshot; may be nil
	// Anew enrols a file that is enrolled already, as another device: it is a copy.
	// What it has not handed in goes along, and is taken once.
	Anew bool
}

// Joined is what became of a file that joined.
type Joined struct {
	File     string          `json:"file"`
	URL      string          `json:"url"`
	Device   change.DeviceID `json:"device"`
	Name     string          `json:"name"`
	Hub      string          `json:"hub"`
	Created  []string        `json:"created_tables,omitempty"`
	Guarded  []string        `json:"guarded_triggers,omitempty"`
	Left     []string        `json:"running_triggers,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
}

// The refusals of Join.
var (
	ErrJoined = errors.New("the file is enrolled already")
	ErrToken  = errors.New("this is no join token")
	// ErrDamaged says that a file does not pass SQLite's own check.
	ErrDamaged = errors.New("the file is damaged")
)

// Join enrols a file: it makes the device's key, takes the token to the hub, and
// prepares the file. Interrupted anywhere, it can be done again with the same
// token: the key is on disk before the hub hears of it.
func Join(ctx context.Context, cfg JoinConfig) (*Joined, error) {
	token, err := transport.ParseToken(cfg.Token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if err := cfg.newcomer(token); err != nil {
		return nil, err
	}
	if err := cfg.place(); err != nil {
		return nil, err
	}
	made, err := makeSide(cfg.File)
	if err != nil {
		return nil, err
	}
	lock, err := disk.Take(lockPath(cfg.File))
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	// A file that cannot take Tidemark must not cost the token.
	fresh, err := cfg.preflight()
	if err != nil {
		cfg.forget(made, err)
		return nil, err
	}
	cfg.key = cfg.joinKey()
	id, err := cfg.enlist(ctx, token)
	if err != nil {
		cfg.forget(made, err)
		return nil, err
	}
	before, err := cfg.prepare(ctx, id, fresh)
	if err != nil {
		return nil, err
	}
	err = cfg.talk(ctx, id, 0, edge.SessionConfig{Once: true}, func(p *peer) {
		p.after = func(context.Context, emitFunc) error {
			if p.let { // the file has what the hub told it to have
				return errDone
			}
			return nil
		}
	}, func(*edge.Engine, *Identity) error { return nil })
	if err != nil {
		return nil, err
	}
	if err := cfg.settle(id); err != nil {
		return nil, err
	}
	after, err := cfg.objects()
	if err != nil {
		return nil, err
	}
	out := &Joined{File: cfg.File, URL: id.URL, Device: id.Device, Name: id.Name, Hub: id.Hub}
	out.compare(before, after)
	return out, nil
}

// prepare makes a file that is not there yet, and returns what a file held before
// Tidemark came.
func (cfg JoinConfig) prepare(ctx context.Context, id *Identity, fresh bool) (map[[2]string]string, error) {
	if fresh && cfg.Fill {
		if filled, err := cfg.fill(ctx, id); err != nil || filled {
			return nil, err
		}
	}
	// What an earlier try left of a snapshot may be a second name of the file itself.
	if err := edge.DropDownload(cfg.File); err != nil {
		return nil, fmt.Errorf("remove what is left of a snapshot: %w", err)
	}
	if fresh {
		if err := cfg.create(); err != nil {
			return nil, err
		}
	}
	return cfg.objects()
}

// enrol takes the token to the hub, for the key that is kept beside the file.
func (cfg JoinConfig) enrol(ctx context.Context, token transport.Token, path string) (*Identity, error) {
	key, err := transport.LoadOrCreateKey(path, cfg.Rand)
	if err != nil {
		return nil, err
	}
	c, err := transport.NewClient(transport.Options{URL: token.URL, Pin: token.Pin, Key: key, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	j, err := c.Join(ctx, token.Secret, cfg.Agent)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", cfg.File, token.URL, err)
	}
	return &Identity{URL: token.URL, Pin: token.Pin, Device: j.Device, Name: token.Name, Hub: j.Hub, Joined: cfg.Clock.Now().UTC()}, nil
}

// objects reads the definitions of a file's tables and triggers that are not
// ours, by type and name.
func (e Edge) objects() (_ map[[2]string]string, err error) {
	c, err := sqlite.Open(e.File, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	out := map[[2]string]string{}
	err = sqlite.Query(c, "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table','trigger')", func(s *sqlite.Stmt) error {
		if name := s.ColumnText(1); !sqlite.Ours(name) && !strings.HasPrefix(name, "sqlite_") {
			out[[2]string{s.ColumnText(0), name}] = s.ColumnText(2)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", e.File, err)
	}
	return out, nil
}

// compare tells what enrolment did to the file, from what it holds now.
func (j *Joined) compare(before, after map[[2]string]string) {
	for o, sql := range after {
		old, had := before[o]
		switch {
		case o[0] == "table" && !had:
			j.Created = append(j.Created, o[1])
		case o[0] == "trigger" && had && old != sql:
			j.Guarded = append(j.Guarded, o[1])
		case o[0] == "trigger" && had:
			j.Left = append(j.Left, o[1])
		}
	}
	slices.Sort(j.Created)
	slices.Sort(j.Guarded)
	slices.Sort(j.Left)
}

// preflight looks whether the file can be opened and written; fresh says that it
// is not there or holds no table yet.
func (e Edge) preflight() (fresh bool, err error) {
	if _, err := os.Stat(e.File); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	c, err := sqlite.Open(e.File, sqlite.Options{MustExist: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	names, _, err := sqlite.TableNames(c)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", e.File, err)
	}
	// A damaged file would spread its damage, or stop in the middle of enrolment.
	v, _, err := sqlite.One(c, "PRAGMA quick_check(1)")
	if err == nil && v.Str() != "ok" {
		err = fmt.Errorf("%w: %s", ErrDamaged, v.Str())
	}
	if err != nil {
		return false, fmt.Errorf("check %s: %w", e.File, err)
	}
	// Taking the write lock for a moment tells a read-only file and a lock held.
	if err := sqlite.Immediate(c, func() error { return nil }); err != nil {
		return false, fmt.Errorf("write to %s: %w", e.File, err)
	}
	return len(names) == 0, nil
}

// create makes an empty file in WAL mode, so that the application and the agent
// do not wait for each other.
func (e Edge) create() error {
	c, err := sqlite.Open(e.File, sqlite.Options{WAL: true, NoSync: e.NoSync})
	if err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return fmt.Errorf("create %s: %w", e.File, err)
	}
	return nil
}
