package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// Style says what the screen can do.
type Style struct {
	Live   bool // a terminal: lines may be rewritten in place
	Colour bool
	UTF8   bool
}

// A Claim is something that the demo says and has checked.
type Claim struct {
	Act  string `json:"act"`
	Text string `json:"claim"`
	True bool   `json:"true"`
}

// A Screen is where the story is told, in at most 80 columns. One goroutine uses
// it at a time.
type Screen struct {
	w      io.Writer
	clock  clock.Clock
	style  Style
	act    int
	title  string
	claims []Claim
	live   bool      // a live line stands, not ended yet
	last   string    // the live line as told last
	told   time.Time // when, where lines cannot be rewritten
}

const (
	screenWidth = 80
	plainEvery  = 2 * time.Second // how often a live line is told where it cannot be rewritten
)

// NewScreen writes to w in a style.
func NewScreen(w io.Writer, c clock.Clock, s Style) *Screen {
	return &Screen{w: w, clock: c, style: s}
}

// Claims are all claims so far.
func (s *Screen) Claims() []Claim { return s.claims }

const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (s *Screen) paint(code, text string) string {
	if !s.style.Colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// sign is a sign, or what stands for it where only ASCII is known.
func (s *Screen) sign(fine, plain string) string {
	if s.style.UTF8 {
		return fine
	}
	return plain
}

func (s *Screen) line(text string) {
	s.settle()
	fmt.Fprintln(s.w, text)
}

// Act begins a numbered act.
func (s *Screen) Act(title string) {
	s.act++
	s.title = title
	s.line("")
	s.line(s.paint(bold, fmt.Sprintf("%d  %s", s.act, title)))
}

// Say tells something, wrapped.
func (s *Screen) Say(text string, args ...any) {
	for _, l := range wrap(fmt.Sprintf(text, args...), screenWidth-3) {
		s.line("   " + l)
	}
}

// Block shows lines as they are, set apart.
func (s *Screen) Block(text string) {
	for l := range strings.Lines(text) {
		s.line(s.paint(faint, strings.TrimRight("     "+l, " \n")))
	}
}

// Command shows a command line that is run.
func (s *Screen) Command(words ...string) {
	list := wrap(strings.Join(words, " "), screenWidth-9)
	for i, l := range list {
		head := "   $ "
		if i > 0 {
			head = "       "
		}
		if i < len(list)-1 {
			l += " \\"
		}
		s.line(head + s.paint(cyan, l))
	}
}

// SQL shows statements that an application runs on a file.
func (s *Screen) SQL(file, text string) {
	head := "   " + file + "> "
	for l := range strings.Lines(text) {
		s.line(s.paint(faint, head) + s.paint(cyan, strings.TrimRight(l, "\n")))
		head = strings.Repeat(" ", len(head))
	}
}

// Claim shows something checked. One that is not true is an error.
func (s *Screen) Claim(ok bool, text string, args ...any) error {
	c := Claim{Act: s.title, Text: fmt.Sprintf(text, args...), True: ok}
	s.claims = append(s.claims, c)
	mark := s.paint(green, s.sign("✓", "ok"))
	if !ok {
		mark = s.paint(red, s.sign("✗", "NO"))
	}
	indent := 3 + utf8.RuneCountInString(s.sign("✓", "ok")) + 1
	for i, l := range wrap(c.Text, screenWidth-indent) {
		if i == 0 {
			s.line("   " + mark + " " + l)
			continue
		}
		s.line(strings.Repeat(" ", indent) + l)
	}
	if !ok {
		return fmt.Errorf("act %d, %s: this is not so: %s", s.act, strings.ToLower(s.title), c.Text)
	}
	return nil
}

// Live tells how something goes on: in place on a terminal, elsewhere a line now
// and then.
func (s *Screen) Live(text string, args ...any) {
	text = clip("   "+fmt.Sprintf(text, args...), screenWidth-1)
	if s.style.Live {
		fmt.Fprintf(s.w, "\r\x1b[K%s", text)
		s.live, s.last = true, text
		return
	}
	now := s.clock.Now()
	s.live = true
	if text == s.last || now.Sub(s.told) < plainEvery && !s.told.IsZero() {
		return
	}
	s.last, s.told = text, now
	fmt.Fprintln(s.w, text)
}

// End tells the last state of what was live.
func (s *Screen) End(text string, args ...any) {
	text = clip("   "+fmt.Sprintf(text, args...), screenWidth-1)
	switch {
	case s.style.Live:
		fmt.Fprintf(s.w, "\r\x1b[K%s\n", text)
	case text != s.last:
		fmt.Fprintln(s.w, text)
	}
	s.live, s.last, s.told = false, "", time.Time{}
}

// settle ends a live line that something else interrupts.
func (s *Screen) settle() {
	if s.live && s.style.Live {
		fmt.Fprintln(s.w)
	}
	s.live, s.last, s.told = false, "", time.Time{}
}

// wrap breaks a text at spaces. A word longer than width stands alone.
func wrap(text string, width int) []string {
	var out []string
	line := ""
	for _, w := range strings.Fields(text) {
		switch {
		case line == "":
			line = w
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width:
			out = append(out, line)
			line = w
		default:
			line += " " + w
		}
	}
	return append(out, line)
}

// clip cuts a text to width columns.
func clip(text string, width int) string {
	r := []rune(text)
	if len(r) <= width {
		return text
	}
	return string(r[:width])
}

// count writes a number in groups of three: 1234567 is 1,234,567.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// span writes a duration as people say it.
func span(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// size writes bytes: 1536 is 1.5 KiB.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
