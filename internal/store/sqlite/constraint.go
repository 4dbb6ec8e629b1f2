package sqlitestore

import (
	"errors"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// constraint tells the database's rules from its troubles.
func constraint(table string, err error) error {
	var known *hub.ConstraintError
	if err == nil || errors.Is(err, hub.ErrNotFound) || errors.As(err, &known) {
		return err
	}
	var kind string
	switch sqlite.ErrCode(err) {
	case sqlite.ResultConstraintUnique, sqlite.ResultConstraintPrimaryKey, sqlite.ResultConstraintRowID:
		kind = "unique"
	case sqlite.ResultConstraintNotNull:
		kind = "not null"
	case sqlite.ResultConstraintCheck:
		kind = "check"
	case sqlite.ResultConstraintForeignKey:
		kind = "foreign key"
	case sqlite.ResultConstraintTrigger:
		kind = "trigger"
	case resultConstraintDatatype, sqlite.ResultMismatch:
		kind = "type"
	default:
		return fmt.Errorf("write to %s: %w", table, err)
	}
	return &hub.ConstraintError{Kind: kind, Table: table, Detail: detail(err)}
}

// resultConstraintDatatype is SQLITE_CONSTRAINT_DATATYPE, which the driver does not name.
const resultConstraintDatatype sqlite.ResultCode = 3091

// detail is the engine's own words, without the driver's in front.
func detail(err error) string {
	s := err.Error()
	for _, p := range []string{"sqlite: step: ", "sqlite: reset: ", "constraint failed: "} {
		s = strings.TrimPrefix(s, p)
	}
	return s
}
