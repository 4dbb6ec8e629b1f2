package people

import "time"

// A Kind is what sort of refusal a Fault is.
type Kind uint8

// The kinds of faults.
const (
	Invalid Kind = iota + 1 // what was given cannot be
	Unknown                 // there is no such person, token, link …
	Denied                  // the proof does not hold
	Stale                   // somebody else changed it meanwhile
	Unfit                   // not as things stand
	Busy                    // later
)

// A Fault is a refusal, for people.
type Fault struct {
	Kind    Kind
	Code    string // stable
	Message string
	Hint    string        // what to do
	After   time.Duration // of a Busy one: when to come back
}

func (f *Fault) Error() string { return f.Message }

func invalid(code, message, hint string) *Fault {
	return &Fault{Kind: Invalid, Code: code, Message: message, Hint: hint}
}
func unknown(code, message, hint string) *Fault {
	return &Fault{Kind: Unknown, Code: code, Message: message, Hint: hint}
}
func denied(code, message, hint string) *Fault {
	return &Fault{Kind: Denied, Code: code, Message: message, Hint: hint}
}
func stale(code, message, hint string) *Fault {
	return &Fault{Kind: Stale, Code: code, Message: message, Hint: hint}
}
func unfit(code, message, hint string) *Fault {
	return &Fault{Kind: Unfit, Code: code, Message: message, Hint: hint}
}
