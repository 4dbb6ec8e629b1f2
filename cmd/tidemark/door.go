package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// A door is what every verb works with: the streams, the flags that all verbs
// share, the time and the randomness.
type door struct {
	in       io.Reader
	out, err io.Writer
	clock    clock.Clock
	rand     io.Reader
	tty      bool // err is a terminal: progress bars make sense

	json    bool // --json
	verbose bool // --verbose

	answered bool // a JSON document was printed
}

func newDoor(in, out, err *os.File) *door {
	return &door{
		in: in, out: out, err: err,
		clock: clock.System{}, rand: rand.Reader,
		tty: term.IsTerminal(int(err.Fd())),
	}
}

// logger writes to standard error: text for people, JSON lines with --json.
func (d *door) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if d.verbose {
		o.Level = slog.LevelDebug
	}
	if d.json {
		return slog.New(slog.NewJSONHandler(d.err, o))
	}
	return slog.New(slog.NewTextHandler(d.err, o))
}

// quiet is the logger of verbs that answer and end: only what goes wrong.
func (d *door) quiet() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelWarn}
	if d.verbose {
		o.Level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(d.err, o))
}

// show prints a result: as one JSON document with --json, else by human.
func (d *door) show(v any, human func(w io.Writer)) error {
	if !d.json {
		human(d.out)
		return nil
	}
	return d.document(v)
}

// document prints v as one indented JSON document.
func (d *door) document(v any) error {
	d.answered = true
	e := json.NewEncoder(d.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// event prints one line of a verb that goes on: JSON with --json, else text.
func (d *door) event(v any, text string, args ...any) {
	if !d.json {
		fmt.Fprintf(d.out, text+"\n", args...)
		return
	}
	e := json.NewEncoder(d.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a closed pipe shows at the next write that matters
}

// say tells the person at the terminal something that is not the result.
func (d *door) say(text string, args ...any) { fmt.Fprintf(d.err, text+"\n", args...) }

// grid prints rows in aligned columns under a head.
func grid(w io.Writer, head []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush()
}

// facts prints names and values in two aligned columns.
func facts(w io.Writer, list [][2]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range list {
		fmt.Fprintf(t, "%s\t%s\n", f[0], f[1])
	}
	_ = t.Flush()
}
