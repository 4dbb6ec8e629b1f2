package postgresstore

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// What the hub keeps beside the rows, documents and the journal, is kept back like writes,
// and sent in one trip: of a group of pushes all together. Whoever reads it meanwhile is
// answered from here, or makes the database complete first. Nothing is kept back while a
// savepoint is open: its end would undo more than its own.

// books is what is known of the hub's documents and chains, and what is kept back.
type books struct {
	records  map[hub.Name][]byte                // nil: there is none
	lists    map[string]map[string][]hub.Record // by kind, and by prefix
	progress map[change.Incarnation]hub.Progress
	mark     int64 // the last one given
	marked   bool  // mark is known

	docs    map[hub.Name][]byte // kept back; nil: to be removed
	size    int                 // of their bodies
	journal []hub.Received      // kept back
	authors []int64             // of journal
	sealing *sealing
}

// docsKept is how many bytes of documents are kept back at most.
const docsKept = 8 << 20

// listAhead is how long a list may be that is read ahead, so that it is whole.
const listAhead = 16

// foresee adds to a batch the reading of what will be asked for.
func (k *books) foresee(b *pgx.Batch, a *hub.Ahead) {
	k.records, k.lists = make(map[hub.Name][]byte, len(a.Records)), map[string]map[string][]hub.Record{}
	kinds, ids := make([]string, len(a.Records)), make([]string, len(a.Records))
	for i, n := range a.Records {
		kinds[i], ids[i] = n.Kind, n.ID
		k.records[n] = nil
	}
	b.Queue(`SELECT r.kind, r.id, r.body FROM unnest($1::text[], $2::text[]) AS n (kind, id) CROSS JOIN LATERAL
		(SELECT * FROM tidemark.record AS r WHERE r.kind = (n.kind COLLATE "C") AND r.id = (n.id COLLATE "C") OFFSET 0) AS r`, kinds, ids).
		Query(answers(func(r *row) error {
			k.records[hub.Name{Kind: r.text(0), ID: r.text(1)}] = append([]byte{}, r.blob(2)...)
			return nil
		}))
	b.Queue(`SELECT value::int8 FROM tidemark.meta WHERE key = '` + metaMark + `'`).Query(func(rows pgx.Rows) error {
		k.marked = true
		return answers(func(r *row) error { k.mark = r.int(0); return nil })(rows)
	})
	k.foreseeLists(b, a.Lists)
}

func (k *books) foreseeLists(b *pgx.Batch, names []hub.Name) {
	var kinds, from, to []string
	for _, n := range names {
		of := k.lists[n.Kind]
		if of == nil {
			of = map[string][]hub.Record{}
			k.lists[n.Kind] = of
		}
		if _, ok := of[n.ID]; ok { // two pushes of one device
			continue
		}
		of[n.ID] = nil
		kinds, from, to = append(kinds, n.Kind), append(from, n.ID), append(to, beyond(n.ID))
	}
	b.Queue(`SELECT n.i, r.id, r.body FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS n (kind, low, high, i) CROSS JOIN LATERAL
		(SELECT * FROM tidemark.record AS r WHERE r.kind = (n.kind COLLATE "C") AND r.id >= (n.low COLLATE "C") AND r.id < (n.high COLLATE "C") ORDER BY r.id LIMIT $4::int8) AS r
		ORDER BY n.i, r.id`, kinds, from, to, int64(listAhead+1)).
		Query(func(rows pgx.Rows) error {
			err := answers(func(r *row) error {
				i := r.int(0) - 1
				of := k.lists[kinds[i]]
				of[from[i]] = append(of[from[i]], hub.Record{ID: r.text(1), Body: r.blob(2)})
				return nil
			})(rows)
			for _, of := range k.lists {
				maps.DeleteFunc(of, func(_ string, list []hub.Record) bool { return len(list) > listAhead })
			}
			return err
		})
}

// beyond is the first text after all that begin with a prefix that is not empty.
func beyond(prefix string) string {
	n := len(prefix) - 1
	return prefix[:n] + string(prefix[n]+1)
}

// put makes a document what it will be, for those who read it before it is sent.
func (k *books) put(n hub.Name, body []byte, certain bool) {
	if !certain {
		delete(k.records, n)
	} else if k.records != nil {
		k.records[n] = body
	}
	delete(k.records, hub.Name{Kind: hub.KindStamp, ID: n.Kind})
	maps.DeleteFunc(k.lists[n.Kind], func(prefix string, _ []hub.Record) bool { return strings.HasPrefix(n.ID, prefix) })
}

// Record implements hub.View.
func (t *tx) Record(kind, id string) ([]byte, error) {
	body, ok := t.books.records[hub.Name{Kind: kind, ID: id}]
	switch {
	case !ok:
		return t.view.Record(kind, id)
	case body == nil:
		return nil, fmt.Errorf("%s %s: %w", kind, id, hub.ErrNotFound)
	}
	return bytes.Clone(body), nil
}

// Records implements hub.View.
func (t *tx) Records(kind, prefix, after string, limit int) ([]hub.Record, error) {
	list, ok := t.books.lists[kind][prefix]
	if !ok || after != "" || limit <= len(list) {
		return t.view.Records(kind, prefix, after, limit)
	}
	out := slices.Clone(list)
	for i := range out {
		out[i].Body = bytes.Clone(out[i].Body)
	}
	return out, nil
}

// PutRecord implements hub.Tx. It does not ring for those who Wait.
func (t *tx) PutRecord(kind, id string, body []byte) error {
	n := hub.Name{Kind: kind, ID: id}
	if t.depth > 0 { // its savepoint comes first
		if err := t.whole(); err != nil {
			return err
		}
	}
	k := &t.books
	if k.docs == nil {
		k.docs = map[hub.Name][]byte{}
	}
	if body != nil {
		body = append([]byte{}, body...)
	}
	k.docs[n] = body
	k.size += len(body)
	k.put(n, body, t.depth == 0)
	if t.depth > 0 || k.size > docsKept {
		return t.keep()
	}
	return nil
}

// Progress implements hub.View.
func (t *tx) Progress(inc change.Incarnation) (hub.Progress, error) {
	if p, ok := t.books.progress[inc]; ok {
		return p, nil
	}
	return t.view.Progress(inc)
}

// Receive implements hub.Tx. One uuid may come once for each place in a chain:
// copies of a file hand in the same transaction under incarnations of their own.
func (t *tx) Receive(list []hub.Received) error {
	if len(list) == 0 {
		return nil
	}
	if t.depth > 0 {
		if err := t.whole(); err != nil {
			return err
		}
	}
	k := &t.books
	for i := range list {
		author, err := t.number(list[i].Inc)
		if err != nil {
			return err
		}
		k.journal, k.authors = append(k.journal, list[i]), append(k.authors, author)
		delete(t.seen.unknown, list[i].ID)
	}
	for _, r := range ledger.Furthest(list) {
		p, ok := k.progress[r.Inc]
		switch {
		case t.depth > 0:
			delete(k.progress, r.Inc)
		case ok && r.Seq > p.Seq:
			k.progress[r.Inc] = hub.Progress{Seq: r.Seq, Sum: r.Sum}
		}
	}
	t.wrote = true
	if t.depth > 0 {
		return t.keep()
	}
	return nil
}

// keep sends what is kept back of documents and of the journal.
func (t *tx) keep() error {
	k := &t.books
	if len(k.docs) == 0 && len(k.journal) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	k.queueDocs(b)
	if err := t.queueJournal(b); err != nil {
		return err
	}
	if err := t.batch(b); err != nil {
		return fmt.Errorf("keep the journal and documents: %w", err)
	}
	return nil
}

// stampsSQL stamps kinds, each once in a transaction: what a savepoint's end undoes is
// stamped again. It is random: transactions are counted anew when another server takes over.
const stampsSQL = `WITH stamped AS (INSERT INTO tidemark.record AS r (kind, id, body) SELECT '` + hub.KindStamp + `', d.kind, uuid_send(gen_random_uuid())
	FROM (SELECT DISTINCT kind FROM unnest($1::text[]) AS n (kind)) AS d ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body WHERE r.xmin <> pg_current_xact_id()::xid) `

// queueDocs adds the statements that write documents, in the order of their names.
func (k *books) queueDocs(b *pgx.Batch) {
	names := make([]hub.Name, 0, len(k.docs))
	for n := range k.docs {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b hub.Name) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	var there, gone struct {
		kinds, ids []string
		bodies     [][]byte
	}
	for _, n := range names {
		if body := k.docs[n]; body != nil {
			there.kinds, there.ids, there.bodies = append(there.kinds, n.Kind), append(there.ids, n.ID), append(there.bodies, body)
		} else {
			gone.kinds, gone.ids = append(gone.kinds, n.Kind), append(gone.ids, n.ID)
		}
	}
	if len(gone.ids) > 0 {
		b.Queue(stampsSQL+`DELETE FROM tidemark.record AS r USING unnest($1::text[], $2::text[]) AS n (kind, id)
			WHERE r.kind = (n.kind COLLATE "C") AND r.id = (n.id COLLATE "C")`, gone.kinds, gone.ids)
	}
	if len(there.ids) > 0 {
		b.Queue(stampsSQL+`INSERT INTO tidemark.record (kind, id, body) SELECT n.kind, n.id, n.body FROM unnest($1::text[], $2::text[], $3::bytea[]) AS n (kind, id, body)
			ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body`, there.kinds, there.ids, there.bodies)
	}
	k.docs, k.size = nil, 0
}

// queueJournal adds the statements that journal what was received: one batch of all the
// transactions, compressed together, a row for each, and how far their chains have come.
func (t *tx) queueJournal(b *pgx.Batch) error {
	k := &t.books
	list, authors := k.journal, k.authors
	if len(list) == 0 {
		return nil
	}
	k.journal, k.authors = nil, nil
	body, err := k.seal(list)
	if err != nil {
		return err
	}
	mark, err := t.lastMark()
	if err != nil {
		return err
	}
	n := len(list)
	ids, sums, contents := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	seqs, states, dates, reasons := make([]int64, n), make([]int64, n), make([]int64, n), make([]string, n)
	for i := range list {
		r := &list[i]
		ids[i], sums[i], contents[i] = r.ID[:], r.Sum[:], r.Content[:]
		seqs[i], states[i], dates[i], reasons[i] = int64(r.Seq), int64(r.Status), r.At.UnixMilli(), r.Reason
	}
	b.Queue(`WITH batch AS (INSERT INTO tidemark.batch (body) VALUES ($2::bytea) RETURNING id)
		INSERT INTO tidemark.tx (mark, id, inc, seq, sum, content, batch, idx, status, reason, at)
		SELECT $1::int8 + n.i, n.id, n.inc, n.seq, n.sum, n.content, batch.id, n.i - 1, n.status, n.reason, n.at FROM batch, unnest($3::bytea[], $4::int4[],
			$5::int8[], $6::bytea[], $7::bytea[], $8::int2[], $9::text[], $10::int8[]) WITH ORDINALITY AS n (id, inc, seq, sum, content, status, reason, at, i)`,
		mark, body, ids, authors, seqs, sums, contents, states, reasons, dates)
	t.queueProgress(b, list)
	t.queueMark(b, mark+int64(n))
	return t.queueNotches(b, authors)
}

func (t *tx) queueProgress(b *pgx.Batch, list []hub.Received) {
	far := ledger.Furthest(list)
	n := len(far)
	incs, devices, sums, seqs := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([]int64, n)
	for i, r := range far {
		incs[i], devices[i], sums[i], seqs[i] = r.Inc[:], r.Device[:], r.Sum[:], int64(r.Seq)
	}
	b.Queue(`UPDATE tidemark.origin AS o SET device = n.device, seq = n.seq, sum = n.sum FROM unnest($1::bytea[], $2::bytea[], $3::int8[], $4::bytea[]) AS n (inc, device, seq, sum)
		WHERE o.inc = n.inc AND o.seq < n.seq`, incs, devices, seqs, sums)
}

// queueMark adds the statement that notes the last mark given.
func (t *tx) queueMark(b *pgx.Batch, mark int64) {
	b.Queue(setMetaSQL, metaMark, strconv.FormatInt(mark, 10))
	t.books.mark, t.books.marked = mark, true
}

// A sealing is the making of a journal's batch, beside other work.
type sealing struct {
	n    int // of transactions
	body []byte
	err  error
	done chan struct{}
}

// sealAhead begins to seal what is kept back.
func (k *books) sealAhead() {
	list := k.journal
	if len(list) == 0 {
		return
	}
	s := &sealing{n: len(list), done: make(chan struct{})}
	k.sealing = s
	go func() {
		defer close(s.done)
		s.body, s.err = ledger.Seal(list)
	}()
}

// seal seals transactions, unless that is being done.
func (k *books) seal(list []hub.Received) ([]byte, error) {
	s := k.sealing
	if s == nil {
		return ledger.Seal(list)
	}
	k.sealing = nil
	<-s.done
	if s.n != len(list) {
		return ledger.Seal(list)
	}
	return s.body, s.err
}
