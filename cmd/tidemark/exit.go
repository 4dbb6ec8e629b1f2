package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes. They are part of the interface: exitHelp documents them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnsafe      = 3
	exitUnreachable = 4
	exitRefused     = 5
	exitNotInSync   = 6
	exitInterrupted = 130
)

const exitHelp = `Every tidemark command ends with one of these codes:

    0  done
    1  failed: the message says what, to what, and what to do
    2  usage or configuration error: nothing was touched
    3  refused because work would be lost; --force says otherwise where a verb has it
    4  the hub cannot be reached: local work is kept, try again later
    5  the hub refused: revoked or unknown device, wrong certificate pin, used or expired token
    6  done, but not in sync: digests differ, work is quarantined, or the file is behind
  130  interrupted: what was done is kept, run the command again to go on
`

// A failure is an error with the exit code and the hint that belong to it.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail wraps err with a code and what to do about it.
func fail(code int, err error, hint string, args ...any) error {
	if err == nil {
		return nil
	}
	if len(args) > 0 {
		hint = fmt.Sprintf(hint, args...)
	}
	return &failure{code: code, err: err, hint: hint}
}

// usage is a failure of the command line itself.
func usage(text string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(text, args...)}
}

// finish prints what went wrong, if anything, and returns the exit code.
func (d *door) finish(err error) int {
	if err == nil {
		return exitOK
	}
	f := explain(err)
	if d.json && !d.answered { // else the answer says it already, and stays one document
		_ = d.document(map[string]any{"error": map[string]any{"message": f.err.Error(), "hint": f.hint, "exit_code": f.code}})
	}
	fmt.Fprintf(d.err, "tidemark: %s\n", strings.TrimSpace(f.err.Error()))
	if f.hint != "" {
		fmt.Fprintf(d.err, "  hint: %s\n", strings.ReplaceAll(f.hint, "\n", "\n        "))
	}
	return f.code
}

// explain finds the exit code and the hint of an error from any room.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		// Keep the outermost text: it names the operation.
		return &failure{code: f.code, err: err, hint: f.hint}
	}
	if errors.Is(err, context.Canceled) {
		return &failure{code: exitInterrupted, err: errors.New("interrupted"),
			hint: "everything committed so far is kept; run the command again to go on"}
	}
	if f := explainRoom(err); f != nil {
		return f
	}
	if isUsage(err) {
		return &failure{code: exitUsage, err: err, hint: "tidemark help shows the verbs, tidemark help VERB shows one with examples"}
	}
	return &failure{code: exitFailed, err: err}
}

// isUsage recognises cobra's own complaints, which have no type.
func isUsage(err error) bool {
	for _, p := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires at least", "required flag", "invalid argument", "flag needs"} {
		if strings.HasPrefix(err.Error(), p) {
			return true
		}
	}
	return false
}

// flagFault makes a wrong flag a usage failure.
func flagFault(cmd *cobra.Command, err error) error {
	return &failure{code: exitUsage, err: err, hint: "see " + cmd.CommandPath() + " --help"}
}

// args wraps an argument check into a usage failure that shows the form.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if err := check(cmd, list); err != nil {
			return &failure{code: exitUsage, err: err, hint: "the form is: " + cmd.UseLine()}
		}
		return nil
	}
}
