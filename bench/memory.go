package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// The sizes of the memory measurement at scale 1, in rows.
const (
	someRows = 100_000
	manyRows = 1_000_000
)

// memory compares the hub's peak memory while an edge bootstraps many rows with
// that for a tenth of them: it must not grow with the data. The connection of the
// large one is cut at a random byte, and the next session goes on from there.
func (b *bench) memory() error {
	small, err := b.large(b.size(someRows), false)
	if err != nil {
		return err
	}
	big, err := b.large(b.size(manyRows), true)
	if err != nil {
		return err
	}
	b.add(line{Name: fmt.Sprintf("memory: hub's peak, bootstrap of %d rows", b.size(manyRows)), Unit: "bytes", LimitUnit: 256 << 20,
		Ceiling: float64(small.peak), Measured: float64(big.peak), Up: big.up, Down: big.down,
		CPU: fmt.Sprintf("%.2f/%.2f", big.client.Seconds(), big.server.Seconds()), Note: "ceiling is a tenth of the rows; " + big.note})
	b.add(line{Name: "memory: time and bytes of that bootstrap, with a cut", Measured: big.took.Seconds(), Up: big.up, Down: big.down})
	return nil
}

// A haul is one large bootstrap.
type haul struct {
	sample
	note string
}

// large bootstraps rows into one edge, and checks the content.
func (b *bench) large(rows int, cut bool) (h haul, err error) {
	st, err := b.open(tidemark, rows)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if !cut {
		if err := errors.Join(b.join(st, 1), st.rest()); err != nil {
			return h, err
		}
		h.sample, err = b.measure(st, "pull", "memory")
		return h, errors.Join(err, b.same(st, "memory", 1))
	}
	// 40 to 60 bytes a row travel: the cut comes well within them.
	after := int64(rows) * (10 + rand.New(rand.NewPCG(uint64(rows), 7)).Int64N(20))
	var proxy *scissors
	err = b.joinBy(st, 1, func(token string) (string, error) {
		t, err := transport.ParseToken(token)
		if err != nil {
			return "", err
		}
		u, err := url.Parse(t.URL)
		if err != nil {
			return "", err
		}
		if proxy, err = cutter(u.Host, after); err != nil {
			return "", err
		}
		t.URL = "https://" + proxy.Addr().String()
		return t.String(), nil
	})
	if proxy != nil {
		defer proxy.close()
	}
	if err := errors.Join(err, st.rest()); err != nil {
		return h, err
	}
	from := time.Now()
	if _, err := st.edges[0].call(ask{Do: "pull"}); err == nil {
		return h, errors.New("the cut went unnoticed")
	}
	before := time.Since(from)
	if h.sample, err = b.measure(st, "pull", "memory"); err != nil {
		return h, err
	}
	h.note = fmt.Sprintf("cut after %s down, then %s more", size(after), size(h.down))
	h.took += before
	return h, b.same(st, "memory", 1)
}
