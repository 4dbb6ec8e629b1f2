package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// fault is an error with its ErrorInfo.
func fault(code connect.Code, name, message, hint string) *connect.Error {
	e := connect.NewError(code, errors.New(message))
	if d, err := connect.NewErrorDetail(&pb.ErrorInfo{Code: name, Hint: hint}); err == nil {
		e.AddDetail(d)
	}
	return e
}

// badField refuses a request because of one field.
func badField(field, wrong, hint string) error {
	return fault(connect.CodeInvalidArgument, "invalid", field+": "+wrong, hint)
}

func noDevice(text string) error {
	return fault(connect.CodeNotFound, "no-such-device", fmt.Sprintf("there is no device %q here", text), "the list of devices shows them")
}

// kinds are the codes of refusals of people.
var kinds = map[people.Kind]connect.Code{
	people.Invalid: connect.CodeInvalidArgument, people.Unknown: connect.CodeNotFound, people.Denied: connect.CodeUnauthenticated,
	people.Stale: connect.CodeAborted, people.Unfit: connect.CodeFailedPrecondition, people.Busy: connect.CodeResourceExhausted,
}

// fieldHints say what to do about a field that is wrong.
var fieldHints = map[string]string{
	"table":  "the page Data, and tidemark data tables, show the tables that there are",
	"column": "the page Data, and tidemark data tables, show a table's columns",
	"key":    "give a value for each column of the key, in the table's order",
	"grants": "name scopes of these kinds, or all",
	"policy": "take one of those",
}

// explain turns an error of any room into what the caller hears. what names the thing
// that may be missing: "device", "receipt" …
func (s *Service) explain(err error, what string) error {
	var c *connect.Error
	var p *people.Fault
	var w *wire.Fault
	var in *hub.InputError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &c):
		return c
	case errors.As(err, &p):
		e := fault(kinds[p.Kind], p.Code, p.Message, p.Hint)
		if p.After > 0 {
			e.Meta().Set("Retry-After", strconv.Itoa(int(p.After.Seconds())+1))
		}
		return e
	case errors.As(err, &in):
		return badField(in.Field, in.Detail, cmp.Or(fieldHints[in.Field], "correct it and try again"))
	case errors.As(err, &w):
		return fault(connect.CodeUnavailable, w.Code, w.Message, w.Hint)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(connect.CodeDeadlineExceeded, "too-slow", "it took too long", "ask for less at once, or try again later")
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	}
	if code, reason, ok := hub.Refused(err); ok {
		return fault(connect.CodeFailedPrecondition, code, reason, "look at the row as it stands now")
	}
	if e := known(err, what); e != nil {
		return e
	}
	s.log.Error("a method failed", "error", err.Error())
	return fault(connect.CodeInternal, "internal", err.Error(), "the hub's log says more")
}

// known are the errors to which the hub gives meaning.
func known(err error, what string) error {
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return fault(connect.CodeNotFound, "no-such-"+what, "there is no such "+what+" here, or no longer", "look at the list again")
	case errors.Is(err, hub.ErrStale):
		return fault(connect.CodeAborted, "stale", "somebody else changed this "+what+" meanwhile", "look again, then decide")
	case errors.Is(err, hub.ErrUndone):
		return fault(connect.CodeFailedPrecondition, "already-undone", "this decision was undone already", "look at the receipt of the undo")
	case errors.Is(err, hub.ErrDepends):
		return fault(connect.CodeFailedPrecondition, "depends", "it depends on another transaction in quarantine", "settle that one first")
	case errors.Is(err, hub.ErrAbsent):
		return fault(connect.CodeFailedPrecondition, "absent", "its values are still at the device", "ask the device for a sync; discard works without")
	case errors.Is(err, hub.ErrRevoked):
		return fault(connect.CodeFailedPrecondition, "revoked", "the device was revoked", "add it anew to let it in again")
	case errors.Is(err, hub.ErrNotHeld):
		return fault(connect.CodeFailedPrecondition, "not-held", "no file of this device waits for a word", "look at the device again")
	}
	return nil
}
