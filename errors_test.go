package tidemark

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// Whatever the rooms below call it, an application needs to tell apart: try again
// later, call somebody, or neither.
func TestErrorsHaveTheirClass(t *testing.T) {
	other := errors.New("another one")
	for _, c := range []struct {
		err  error
		want error // nil: neither class
		hint string
	}{
		{&transport.PinError{}, ErrRefused, ""},
		{&wire.Fault{Code: "revoked", Fatal: true, Hint: "ask"}, ErrRefused, "ask"},
		{&wire.Fault{Code: "busy", RetryAfter: time.Second, Hint: "wait"}, ErrUnreachable, "wait"},
		{&wire.Fault{Code: "odd"}, nil, ""},
		{edge.ErrSilent, ErrUnreachable, ""},
		{transport.ErrSilent, ErrUnreachable, ""},
		{fmt.Errorf("%w: %w", context.Canceled, edge.ErrSilent), nil, ""},
		{other, nil, ""},
	} {
		got := class(fmt.Errorf("sync: %w", c.err))
		for _, e := range []error{ErrRefused, ErrUnreachable} {
			if errors.Is(got, e) != errors.Is(c.want, e) {
				t.Errorf("%v: is %v: %v", c.err, e, errors.Is(got, e))
			}
		}
		if !errors.Is(got, c.err) || Hint(got) != c.hint {
			t.Errorf("%v became %v, hint %q", c.err, got, Hint(got))
		}
	}
	if class(nil) != nil || Hint(nil) != "" {
		t.Error("nothing went wrong")
	}
}
