package postgresstore

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// An awayError is why no connection could be made, in one line that an operator can read:
// the driver has two for each server, and what a standby is in each.
type awayError struct {
	said  string
	cause error
}

func (e *awayError) Error() string { return e.said }
func (e *awayError) Unwrap() error { return e.cause }

// noTLS is not why anything failed: it is tried again without, and that tells.
const noTLS = "tls error: server refused TLS connection"

// away makes a failure to connect readable. Other errors, and nil, it leaves as they are.
func away(err error) error {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); !ok {
		return err
	}
	head, rest, _ := strings.Cut(err.Error(), "\n")
	var said []string
	for line := range strings.SplitSeq(rest, "\n") {
		line = strings.Replace(strings.TrimSpace(line), "ValidateConnect failed: ", "", 1)
		if line != "" && !strings.HasSuffix(line, noTLS) && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return err
	}
	if len(said) > 1 { // what to do about a standby is no answer to one among several
		for i := range said {
			said[i] = strings.Replace(said[i], ErrStandby.Error(), "a standby", 1)
		}
	}
	return &awayError{said: strings.TrimSuffix(head, ":") + ": " + strings.Join(said, "; "), cause: err}
}
