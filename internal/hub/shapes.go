package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Kinds of records about who runs which schema.
const (
	kindShape    = "shape"    // by SchemaHash: change.Schema, as a device's file has it
	kindDevShape = "devshape" // by DeviceID: deviceShape
)

// deviceShape is which schema a device's file has, since when. It is written when
// that changes, not at each Hello.
type deviceShape struct {
	Hash  change.SchemaHash `json:"hash"`
	Since time.Time         `json:"since"`
}

// setupRetry is how soon a device comes back for a new setup.
const setupRetry = 100 * time.Millisecond

// abreast ends a session whose edge knows another setup than the one in force: it
// learns the new one when it greets again. What it pushed stays pushed.
func (s *Session) abreast() error {
	if s.told == s.hub.Setup().Hash {
		return nil
	}
	return &wire.Fault{Code: "setup-changed", Message: "the hub's tables or rules changed since this session began",
		Hint: "nothing to do: the device reconnects and learns them", RetryAfter: setupRetry}
}

// A fileShape is the schema that a greeting file has, and what the hub knows of it.
type fileShape struct {
	hash    change.SchemaHash
	was     change.SchemaHash // that the device's record says
	known   bool              // the hub has the schema itself
	settled bool              // there is nothing to note
	at      int               // Hub.shapes, before the snapshot was taken
}

// lookShape reads what is known of the greeting file's schema. That is nearly always
// the same as the last time, and costs no read then. A file without tables yet has
// none.
func (s *Session) lookShape(v View, f *fileShape) error {
	f.settled = f.hash == change.SchemaHash{}
	s.hub.note(s.device, func(p *presence) { f.settled = f.settled || p.shape == f.hash })
	if f.settled {
		return nil
	}
	var rec deviceShape
	if err := readRecord(v, kindDevShape, s.device.String(), &rec); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err := v.Record(kindShape, f.hash.String())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	f.was, f.known = rec.Hash, err == nil
	if f.settled = f.known && f.was == f.hash; f.settled {
		s.hub.note(s.device, func(p *presence) {
			if s.hub.shapes == f.at { // a copy of the file may have said something else since
				p.shape = f.hash
			}
		})
	}
	return nil
}

// fileShape begins to look a file's schema up.
func (h *Hub) fileShape(hash change.SchemaHash) fileShape {
	h.seenMu.Lock()
	defer h.seenMu.Unlock()
	return fileShape{hash: hash, at: h.shapes}
}

// noteShape keeps which schema the greeting file has; ask says that the hub has
// never seen that one.
func (s *Session) noteShape(ctx context.Context, f *fileShape, now time.Time) (ask bool, err error) {
	if f.settled {
		return false, nil
	}
	own, hash := &s.hub.Setup().Schema, f.hash
	same := !f.known && own.Hash() == hash // no need to ask, and an old agent could not tell
	ask = !f.known && !same
	if f.was == hash && !same {
		return ask, nil
	}
	err = s.hub.share(ctx, func(tx Tx) error {
		if same {
			if err := writeRecord(tx, kindShape, hash.String(), own); err != nil {
				return err
			}
		}
		if f.was == hash {
			return nil
		}
		if err := writeRecord(tx, kindDevShape, s.device.String(), &deviceShape{Hash: hash, Since: now.UTC()}); err != nil {
			return err
		}
		return forgetShape(tx, f.was)
	})
	s.hub.note(s.device, func(p *presence) { // once it is written
		p.shape = change.SchemaHash{}
		s.hub.shapes++
	})
	if err != nil {
		return ask, fmt.Errorf("note schema of device %s: %w", s.device, err)
	}
	s.hub.tellOthers(s.device)
	return ask, nil
}

// forgetShape drops a schema that no device runs any more.
func forgetShape(tx Tx, hash change.SchemaHash) error {
	if hash == (change.SchemaHash{}) {
		return nil
	}
	used := false
	err := eachRecord(tx, kindDevShape, "", func(id string, body []byte) error {
		var d deviceShape
		if err := json.Unmarshal(body, &d); err != nil {
			return fmt.Errorf("decode devshape record %s: %w", id, err)
		}
		if used = d.Hash == hash; used {
			return errStop
		}
		return nil
	})
	if err != nil || used {
		return err
	}
	return tx.PutRecord(kindShape, hash.String(), nil)
}

// takeShape keeps the schema that Hello named.
func (s *Session) takeShape(ctx context.Context, m *wire.Shape) error {
	if got := m.Schema.Hash(); got != s.hello.Schema {
		s.hub.log.Warn("a device told another schema than it named", "device", s.device.String(), "named", s.hello.Schema.String(), "told", got.String())
		return nil
	}
	err := s.hub.store.Update(ctx, func(tx Tx) error {
		return writeRecord(tx, kindShape, s.hello.Schema.String(), &m.Schema)
	})
	if err != nil {
		return s.fail("shape", err)
	}
	return nil
}

// Shapes is who runs which schema.
type Shapes struct {
	Schema change.Schema // the hub's synced tables
	Lost   []rule.Misfit // tables of the rules that cannot be served
	Uses   []ShapeUse    // the most used one first, devices that have not said last
}

// A ShapeUse is one schema that active devices' files have.
type ShapeUse struct {
	Hash    change.SchemaHash // zero: the devices have not said yet
	Known   bool              // Schema is what they have; otherwise they run an agent that cannot tell
	Schema  change.Schema
	Devices []ShapeDevice // by name
	Differs []string      // from the hub's, in words; nil when it is the same
}

// A ShapeDevice is a device in a ShapeUse.
type ShapeDevice struct {
	ID     change.DeviceID
	Name   string
	Since  time.Time // it has had the schema; zero when it has not said
	Seen   time.Time // last message; zero: never
	Unsent uint64    // transactions that it last said it had not handed in
}

// Shapes lists the schemas of all active devices.
func (h *Hub) Shapes(ctx context.Context) (*Shapes, error) {
	out := &Shapes{}
	err := h.view(ctx, func(v View) error {
		s := h.shape.Load()
		out.Schema, out.Lost = s.setup.Schema, s.lost
		byHash := map[change.SchemaHash]*ShapeUse{}
		err := eachDevice(v, func(d *Device) error {
			if d.State != Active {
				return nil
			}
			h.refresh(d)
			var has deviceShape
			if err := readRecord(v, kindDevShape, d.ID.String(), &has); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			u := byHash[has.Hash]
			if u == nil {
				u = &ShapeUse{Hash: has.Hash}
				byHash[has.Hash] = u
			}
			u.Devices = append(u.Devices, ShapeDevice{ID: d.ID, Name: d.Name, Since: has.Since, Seen: d.Seen, Unsent: d.Status.OutboxDepth})
			return nil
		})
		if err != nil {
			return err
		}
		for _, u := range byHash {
			err := readRecord(v, kindShape, u.Hash.String(), &u.Schema)
			if u.Known = err == nil; u.Known {
				u.Differs = s.compare(&u.Schema)
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
			slices.SortFunc(u.Devices, func(a, b ShapeDevice) int { return strings.Compare(a.Name, b.Name) })
			out.Uses = append(out.Uses, *u)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list schemas: %w", err)
	}
	slices.SortFunc(out.Uses, func(a, b ShapeUse) int {
		untold := map[bool]int{true: 1} // last, however many
		none := change.SchemaHash{}
		return cmp.Or(untold[a.Hash == none]-untold[b.Hash == none], len(b.Devices)-len(a.Devices), strings.Compare(a.Hash.String(), b.Hash.String()))
	})
	return out, nil
}

// compare says in words how a file's tables differ from the hub's.
func (s *shape) compare(file *change.Schema) (out []string) {
	seen := map[*table]bool{}
	for i := range file.Tables {
		ft := &file.Tables[i]
		t := s.table(ft.Name)
		if t == nil {
			out = append(out, "has table "+ft.Name+", which the hub has not")
			continue
		}
		seen[t] = true
		if !strings.EqualFold(t.schema.Name, ft.Name) {
			out = append(out, "calls table "+t.schema.Name+" "+ft.Name)
		}
		out = append(out, t.compare(ft)...)
	}
	for _, t := range s.tables {
		if !seen[t] {
			out = append(out, "lacks table "+t.schema.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (t *table) compare(file *change.Table) (out []string) {
	name := t.schema.Name + "."
	seen := map[int]string{}
	for _, i := range file.Stored() {
		f := &file.Columns[i]
		c := t.column(f.Name)
		switch {
		case c < 0 && t.gaveUp(f.Name):
			out = append(out, "has "+name+f.Name+", which was given up (dropped)")
			continue
		case c < 0:
			out = append(out, "has "+name+f.Name+", which the hub has not")
			continue
		case seen[c] != "":
			out = append(out, "has "+name+t.names[c]+" twice, as "+seen[c]+" and as "+f.Name)
			continue
		}
		seen[c] = f.Name
		if !strings.EqualFold(t.names[c], f.Name) {
			out = append(out, "calls "+name+t.names[c]+" "+f.Name)
		}
		if to := file.Affinity(i); to != t.cols[c].affinity {
			out = append(out, fmt.Sprintf("declares %s%s %s, the hub %s", name, t.names[c], declared(f.Type), declared(t.schema.Columns[t.schema.Column(t.names[c])].Type)))
		}
	}
	for c, n := range t.names {
		if seen[c] == "" {
			out = append(out, "lacks "+name+n)
		}
	}
	return out
}

func declared(typ string) string {
	if typ == "" {
		return "without a type"
	}
	return typ
}
