package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemark-sync/tidemark/change"
)

// packing measures the codec beside JSON and zstd, for the same rows.
func (b *bench) packing() error {
	n := b.size(10_000)
	d := seedRows(n).keyOrder()
	sets := d.sets()
	var plain, sealed []byte
	const note = "ceiling is JSON + zstd"
	encode, err := b.duel(line{Name: "bytes: encode those rows", Note: note},
		func(int) (time.Duration, error) {
			return b.stopwatch(func() (err error) { plain, err = jsonRows(d); return err })
		},
		func(int) (time.Duration, error) {
			return b.stopwatch(func() (err error) { sealed, err = change.SealRows(sets); return err })
		})
	if err != nil {
		return err
	}
	decode, err := b.duel(line{Name: "bytes: decode those rows", Note: note},
		func(int) (time.Duration, error) { return b.stopwatch(func() error { return openJSON(plain) }) },
		func(int) (time.Duration, error) {
			return b.stopwatch(func() error { _, err := change.OpenRows(sealed, change.Limits{}); return err })
		})
	if err != nil {
		return err
	}
	b.add(line{Name: fmt.Sprintf("bytes: a row, of %d", n), Limit: 0.75, Unit: "B", Note: note,
		Ceiling: float64(len(plain)) / float64(n), Measured: float64(len(sealed)) / float64(n)})
	b.add(encode)
	b.add(decode)
	return nil
}

// sets are the dataset as a pull carries it.
func (d *dataset) sets() []*change.Rows {
	var out []*change.Rows
	for t, rows := range d {
		r := &change.Rows{Table: tables[t].name, Columns: tables[t].columns, Key: []int{0}}
		for _, row := range rows {
			r.Values = append(r.Values, row...)
		}
		out = append(out, r)
	}
	return out
}

// jsonRows is what a sync service without a codec of its own sends: an object a
// row, compressed.
func jsonRows(d *dataset) ([]byte, error) {
	all := map[string][]map[string]any{}
	for t, rows := range d {
		for _, row := range rows {
			o := map[string]any{}
			for i, v := range row {
				if v.Kind() == change.KindInt {
					o[tables[t].columns[i]] = v.Int()
				} else {
					o[tables[t].columns[i]] = v.Str()
				}
			}
			all[tables[t].name] = append(all[tables[t].name], o)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(text, nil), nil
}

func openJSON(b []byte) error {
	z, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	defer z.Close()
	text, err := z.DecodeAll(b, nil)
	if err != nil {
		return err
	}
	var all map[string][]map[string]any
	return json.Unmarshal(text, &all)
}
