package postgresstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// constraint tells the database's rules from its troubles. table is what was written
// to; the rule may be another one's.
func constraint(table string, err error) error {
	var known *hub.ConstraintError
	var pe *pgconn.PgError
	if err == nil || errors.Is(err, hub.ErrNotFound) || errors.As(err, &known) {
		return err
	}
	if !errors.As(err, &pe) {
		return fmt.Errorf("write to %s: %w", table, err)
	}
	var kind string
	switch {
	case pe.Code == "23505" || pe.Code == "23P01":
		kind = "unique"
	case pe.Code == "23502":
		kind = "not null"
	case pe.Code == "23514":
		kind = "check"
	case pe.Code == "23503" || pe.Code == "23001":
		kind = "foreign key"
	case pe.Code == "P0001" || pe.Code == "23000":
		kind = "trigger"
	case strings.HasPrefix(pe.Code, "22"), strings.HasPrefix(pe.Code, "54"):
		kind = "type" // also: too long for an index
	case !slices.Contains(troubles, pe.Code[:min(2, len(pe.Code))]):
		kind = "trigger" // which may use any code of its own
	default:
		return fmt.Errorf("write to %s: %w", table, err)
	}
	return &hub.ConstraintError{Kind: kind, Table: table, Detail: detail(pe)}
}

// troubles are the classes of errors that say nothing about what was written: it may
// go through another time. Everything else would fail for ever, and hold up all that
// comes behind it.
var troubles = []string{"08", "0A", "0Z", "25", "26", "28", "2D", "3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "XX"}

// detail is the engine's own words, and which column or constraint they are about.
func detail(pe *pgconn.PgError) string {
	s := pe.Message
	if pe.ColumnName != "" {
		s = pe.TableName + "." + pe.ColumnName + ": " + s
	}
	if pe.Detail != "" {
		s += ": " + pe.Detail
	}
	return s
}
