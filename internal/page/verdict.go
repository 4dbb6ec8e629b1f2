package page

import (
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// A level says how much something needs a person, in the hub's own words: see
// hub.Level.
type level int

const (
	ok level = iota
	notice
	warning
	alarm
)

func (l level) String() string { return [...]string{"ok", "notice", "warning", "alarm"}[l] }

// From where on something has a level. They are the hub's: a device must not be called
// safe at one end and not at the other.
const (
	warningUnsafe = 4 * time.Hour
	alarmUnsafe   = 48 * time.Hour
	warningDisk   = 512 << 20
	alarmDisk     = 64 << 20
)

// graded is the level of work that is not at the hub, by its age.
func graded(age time.Duration) level {
	switch {
	case age >= alarmUnsafe:
		return alarm
	case age >= warningUnsafe:
		return warning
	}
	return notice
}

// A plight is what an agent's state means for the person before the page.
type plight struct {
	level level
	text  string // a sentence; "" when there is nothing to say
	until string // what unsent work waits for
}

// plights are the states in which not all is well.
var plights = map[string]plight{
	run.StateOffline:  {notice, "The hub cannot be reached.", "the hub can be reached again"},
	run.StateRefused:  {alarm, "The hub refuses this device.", "the hub lets this device in again"},
	run.StatePaused:   {warning, "The hub’s operator paused this device.", "the hub’s operator lets this device go on"},
	run.StateMissing:  {alarm, "The file is not in its place.", "the file is back"},
	run.StateLocked:   {warning, "Another program keeps the file locked.", "the other program lets go of the file"},
	run.StateFull:     {alarm, "The disk is full.", "there is space on the disk again"},
	run.StateReadOnly: {alarm, "The file, or its directory, cannot be written.", "the file can be written again"},
	run.StateDamaged:  {alarm, "The file is damaged.", "the file is mended"},
	run.StateFailed:   {warning, "Something went wrong, and is tried again.", "that is mended"},
	run.StateStopped:  {alarm, "No agent is at work on this file.", "an agent runs again"},
}

// revoked is the code of the hub's fault that tells a device that its key works no more.
const revoked = "revoked"

func plightOf(a run.AgentStatus) plight {
	p := plights[a.State]
	if a.State == run.StateRefused && a.Code == revoked {
		p.text, p.until = "This device was revoked at the hub.", "the hub’s operator enrols it again"
	}
	return p
}

// isolated reports whether the hub parks all that the device hands in. A device is not
// told of it otherwise than by the reason that its work is parked for.
func isolated(parked []run.Work) bool {
	for i := range parked {
		if r := parked[i].Reason; strings.HasPrefix(r, "device ") && strings.Contains(r, " is isolated") {
			return true
		}
	}
	return false
}

// A safety is the answer to whether the work in a file is safe.
type safety struct {
	Level  level
	Answer string // a sentence without a stop
	Why    string // sentences
	Oldest moment // when the oldest unsafe change was made; zero when there is none
}

func (v *viewer) safety(s *seen) safety {
	if s.Sight == nil {
		return safety{Level: max(warning, plightOf(s.Agent).level), Answer: "Nobody can tell now", Why: "The file has not been read yet. What was written in it is in it."}
	}
	st := s.Sight.Status
	if st.OutboxDepth > 0 {
		return v.unsafe(s)
	}
	switch {
	case !st.Complete:
		return safety{Level: notice, Answer: "The first download is not done yet", Why: "Until it is, rows of others are missing here."}
	case s.Err != nil:
		return safety{Level: notice, Answer: "All work was safe", Why: "That was when the file could last be read. What was written in it since is in it."}
	case st.Quarantined > 0:
		n := st.Quarantined
		return safety{Level: warning, Answer: "All work is at the hub, " + plural(n, "transaction") + " " + were(n) + " refused",
			Why: "What was refused is kept there, and waits for somebody to decide."}
	case plightOf(s.Agent).level > ok:
		return safety{Answer: "All work so far is safe", Why: "It is at the hub. What is written from now on is kept in this file until " + plightOf(s.Agent).until + "."}
	}
	return safety{Answer: "All work is safe", Why: "Everything that was written in this file is at the hub."}
}

// unsafe is the answer when something is not at the hub.
func (v *viewer) unsafe(s *seen) safety {
	st, p := s.Sight.Status, plightOf(s.Agent)
	age := time.Duration(st.OldestUnsafe*float64(time.Second)) + max(v.now.Sub(s.At), 0)
	out := safety{Level: graded(age), Answer: plural(st.OutboxDepth, "transaction") + " " + are(st.OutboxDepth) + " not at the hub yet", Oldest: v.moment(v.now.Add(-age))}
	switch {
	case p.until == "":
		out.Why = "Nothing is lost: what waits is kept in this file, and on its way."
	case s.Agent.State == run.StateDamaged || s.Agent.State == run.StateMissing:
		out.Level, out.Why = alarm, "What waits is nowhere but in this file."
	default:
		out.Why = "Nothing is lost: what waits is kept in this file until " + p.until + "."
	}
	if s.Agent.State == run.StateRefused {
		out.Level = alarm
	}
	return out
}

// A note is something that a person should know beside that.
type note struct {
	Level   level
	Text    string // a sentence
	Error   string // as the agent's log has it
	Hint    string // what to do
	Since   moment
	Next    string // when it is tried again, as "in 12 seconds"; "" when nobody says
	Command string // to copy
}

// notes are what is to be said of a file, worst first.
func (v *viewer) notes(s *seen) (out []note) {
	if p := plightOf(s.Agent); p.text != "" {
		n := note{Level: p.level, Text: p.text, Error: s.Agent.Error, Hint: sentence(s.Agent.Hint), Since: v.moment(s.Agent.Since)}
		if next := s.Agent.Next; !next.IsZero() {
			n.Next = "now"
			if d := next.Sub(v.now); d >= time.Second {
				n.Next = "in " + span(d)
			}
		}
		if s.Agent.State == run.StateStopped {
			n.Hint, n.Command = "Start it:", "tidemark edge "+run.Word(s.File)
		}
		out = append(out, n)
	}
	if s.Err != nil {
		text := "The file cannot be read now."
		if s.Sight != nil {
			text += " What follows is what was last seen of it."
		}
		out = append(out, note{Level: warning, Text: text, Error: s.Err.Error(), Since: v.moment(s.At)})
	}
	if s.Sight != nil {
		out = append(out, conditions(s)...)
	}
	worst(out)
	return out
}

// conditions are what is to be said of how a file and its machine are.
func conditions(s *seen) (out []note) {
	st := s.Sight.Status
	add := func(l level, text, hint, command string) {
		out = append(out, note{Level: l, Text: text, Hint: hint, Command: command})
	}
	if isolated(s.Sight.Parked) {
		add(warning, "The hub’s operator isolated this device: the hub keeps what it hands in, and applies it only once somebody has looked at it.", "", "")
	}
	if !st.Complete && st.OutboxDepth > 0 {
		add(notice, "The first download is not done yet: rows of others are missing here.", "", "")
	}
	switch free := st.FreeDisk; {
	case free == 0: // it cannot be told
	case free < alarmDisk:
		add(alarm, "Only "+size(free)+" of disk are free.", "Free some space: with none, nothing can be written here.", "")
	case free < warningDisk:
		add(warning, "Only "+size(free)+" of disk are free.", "Free some space before it runs out.", "")
	}
	if off := offset(st); off >= clock.DefaultMaxDrift || off <= -clock.DefaultMaxDrift {
		add(warning, "This machine’s clock is "+clockText(off)+".", "Set it right: the hub corrects for it, but the application’s own times are wrong.", "")
	}
	if st.Rescues > 0 {
		copies := "1 rescue copy"
		if st.Rescues > 1 {
			copies = count(st.Rescues) + " rescue copies"
		}
		add(notice, copies+" of work that was discarded or displaced "+are(st.Rescues)+" kept here.", "See them:", "tidemark queue export "+run.Word(s.File))
	}
	if st.Salvage > 0 {
		add(notice, plural(st.Salvage, "row")+" that the hub lost "+are(st.Salvage)+" still here.", "They go to the hub for review by themselves.", "")
	}
	return out
}

func offset(st *run.EdgeStatus) time.Duration {
	return time.Duration(st.ClockOffset * float64(time.Second))
}

// clockText says which way a clock is off that is off behind the hub's.
func clockText(off time.Duration) string {
	switch {
	case off >= time.Second:
		return span(off) + " slow"
	case off <= -time.Second:
		return span(-off) + " fast"
	}
	return "right"
}

func were(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func are(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
