package people

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// An Entry of the audit says who did what. Entries are only ever added; each one names
// the hash of the one before it, so that one that was changed, or taken out of the
// middle, shows: see CheckAudit.
type Entry struct {
	N       uint64    `json:"n"`
	At      time.Time `json:"at"`
	Who     string    `json:"who"` // name; "" somebody who was not logged in
	WhoID   string    `json:"who_id,omitempty"`
	Action  string    `json:"action"`            // "Fleet/Revoke"
	Subject string    `json:"subject,omitempty"` // what it was done to
	Before  string    `json:"before,omitempty"`  // JSON
	After   string    `json:"after,omitempty"`   // JSON
	Error   string    `json:"error,omitempty"`   // why it failed
	From    string    `json:"from,omitempty"`    // address
	Prev    string    `json:"prev"`              // hash of the entry before
	Hash    string    `json:"hash"`              // of all of this but itself

	// Intent names what Intend put down of the act, which the entry takes the place of.
	Intent string `json:"-"`
}

// head is where the audit ends.
type head struct {
	N    uint64 `json:"n"`
	Hash string `json:"hash"`
}

// The longest that the audit keeps of one thing, in bytes.
const (
	mostJSON = 16 << 10
	mostText = 1 << 10
)

func entryID(n uint64) string { return fmt.Sprintf("%020d", n) }

func (e *Entry) sum() string {
	c := *e
	c.Hash = ""
	b, _ := json.Marshal(c) //nolint:errchkjson // plain fields
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// Note adds an entry. N, At, Prev and Hash are filled in.
func (b *Book) Note(ctx context.Context, e Entry) error {
	e.At = b.cfg.Clock.Now().UTC()
	if err := b.cfg.Store.Update(ctx, e.add); err != nil {
		return fmt.Errorf("put %s down in the audit: %w", e.Action, err)
	}
	return nil
}

// trim keeps to what the audit keeps of one thing.
func (e *Entry) trim() {
	e.Before, e.After = cut(e.Before, mostJSON), cut(e.After, mostJSON)
	e.Who, e.Subject, e.Error, e.From = cut(e.Who, mostText), cut(e.Subject, mostText), cut(e.Error, mostText), cut(e.From, mostText)
}

// add adds an entry at the audit's end, in the place of its intent.
func (e *Entry) add(tx hub.Tx) error {
	e.trim()
	last, err := get[head](tx, kindHead, "")
	if err != nil {
		return err
	}
	if last == nil {
		last = &head{}
	}
	e.N, e.Prev = last.N+1, last.Hash
	e.Hash = e.sum()
	if e.Intent != "" {
		if err := tx.PutRecord(kindIntent, e.Intent, nil); err != nil {
			return fmt.Errorf("remove %s %s: %w", kindIntent, e.Intent, err)
		}
	}
	if err := put(tx, kindAudit, entryID(e.N), e); err != nil {
		return err
	}
	return put(tx, kindHead, "", head{N: e.N, Hash: e.Hash})
}

// cut keeps a text to so many bytes. JSON that was cut says so.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " … (cut)"
}

// An AuditFilter narrows the audit. Zero fields do not narrow.
type AuditFilter struct {
	Before  uint64 // a number: newer ones are left out, and itself
	Who     string // a name
	Subject string
	Action  string // begins with it
	Limit   int    // 0: 100
}

// lookedAt is how many entries one page looks at to find those that match.
const lookedAt = 20_000

// Audit lists entries, newest first; next is where to go on, 0 at the end.
func (b *Book) Audit(ctx context.Context, f AuditFilter) (list []Entry, next uint64, err error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	err = b.cfg.Store.View(ctx, func(v hub.View) error {
		list, next = nil, 0
		last, err := get[head](v, kindHead, "")
		if err != nil || last == nil {
			return err
		}
		at := last.N + 1
		if f.Before > 0 {
			at = min(at, f.Before)
		}
		list, next, err = auditBack(v, at, f)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list the audit: %w", err)
	}
	return list, next, nil
}

func auditBack(v hub.View, at uint64, f AuditFilter) (list []Entry, next uint64, err error) {
	const page = 256
	for looked := 0; at > 1 && looked < lookedAt; looked += page {
		from := uint64(0)
		if at > page+1 {
			from = at - page - 1
		}
		recs, err := v.Records(kindAudit, "", entryID(from), int(at-1-from)) //nolint:gosec // at most a page
		if err != nil {
			return nil, 0, err
		}
		for i := len(recs) - 1; i >= 0; i-- {
			e, err := decode[Entry](kindAudit, recs[i].Body)
			if err != nil {
				return nil, 0, err
			}
			if !f.fits(e) {
				continue
			}
			if list = append(list, *e); len(list) == f.Limit {
				if e.N == 1 {
					return list, 0, nil
				}
				return list, e.N, nil
			}
		}
		at = from + 1
	}
	if at > 1 {
		next = at
	}
	return list, next, nil
}

func (f *AuditFilter) fits(e *Entry) bool {
	return (f.Who == "" || strings.EqualFold(f.Who, e.Who)) && (f.Subject == "" || f.Subject == e.Subject) &&
		strings.HasPrefix(e.Action, f.Action)
}

// LastChange tells who changed a subject last, and when; nil when the audit does not say.
func (b *Book) LastChange(ctx context.Context, subject string) (*Entry, error) {
	list, _, err := b.Audit(ctx, AuditFilter{Subject: subject, Limit: 20})
	for i := range list {
		if list[i].Error == "" {
			return &list[i], err
		}
	}
	return nil, err
}

// CheckAudit returns the number of entries, or an error naming the first one that does
// not follow from the one before it.
func (b *Book) CheckAudit(ctx context.Context) (n uint64, err error) {
	err = b.cfg.Store.View(ctx, func(v hub.View) error {
		n = 0
		prev := ""
		err := each(v, kindAudit, "", func(id string, e *Entry) error {
			n++
			if id != entryID(n) || e.N != n || e.Prev != prev || e.Hash != e.sum() {
				return fmt.Errorf("entry %d of the audit was changed, or is missing", n)
			}
			prev = e.Hash
			return nil
		})
		if err != nil {
			return err
		}
		last, err := get[head](v, kindHead, "")
		if err == nil && last == nil && n > 0 || last != nil && (last.N != n || last.Hash != prev) {
			err = errors.New("the end of the audit is missing")
		}
		return err
	})
	return n, err
}
