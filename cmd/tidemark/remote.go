package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// hints say what to do about refusals of the admin API in words of the command line; of
// those that are not here the hub's own hint serves.
var hints = map[string]string{
	"no-such-device":      "tidemark device list shows them",
	"ambiguous":           "give the id instead: tidemark device list shows it",
	"no-such-receipt":     "tidemark conflicts list shows them",
	"no-such-transaction": "tidemark queue list shows them, with their ids",
	"no-such-name":        "tidemark schema status shows what there is",
	"no-such-person":      "tidemark people list shows them",
	"no-such-token":       "tidemark people token list shows them",
	"already-undone":      "the undo has a receipt of its own: undo that one to turn it round again",
	"depends":             "tidemark queue list shows what it waits for",
	"not-held":            "tidemark device list shows which are held",
	"stale":               "look at it as it is now, then decide anew: --at takes its version",
	"login":               "make a token at the hub: tidemark people token add NAME --role operator; give it with --token FILE, or in $" + envToken,
	"token":               "tidemark people token list shows at the hub which there are; tidemark people token add makes another one",
	"role":                "an admin makes a token that may: tidemark people token add NAME --role ROLE",
}

// refusals are those whose code is not what their kind says: nothing was wrong with the
// command line.
var refusals = []string{"already-undone", "depends", "absent"}

// infoOf is what the hub says of an error beside its message.
func infoOf(err error) *pb.ErrorInfo {
	var c *connect.Error
	if !errors.As(err, &c) {
		return nil
	}
	for _, d := range c.Details() {
		if v, e := d.Value(); e == nil {
			if info, ok := v.(*pb.ErrorInfo); ok {
				return info
			}
		}
	}
	return nil
}

// says reports whether the admin API refused with a code.
func says(err error, code string) bool { return infoOf(err).GetCode() == code }

// explainAPI gives an answer of the admin API its exit code and its hint.
func explainAPI(err error) error {
	var c *connect.Error
	var known *failure
	if !errors.As(err, &c) || errors.As(err, &known) {
		return err
	}
	if c.Code() == connect.CodeCanceled {
		return context.Canceled
	}
	info := infoOf(err)
	hint := info.GetHint()
	if own, ok := hints[info.GetCode()]; ok {
		hint = own
	}
	return &failure{code: exitOf(c.Code(), info.GetCode()), err: errors.New(c.Message()), hint: hint}
}

func exitOf(code connect.Code, name string) int {
	switch code {
	case connect.CodeFailedPrecondition:
		if slices.Contains(refusals, name) {
			return exitFailed
		}
		return exitUsage
	case connect.CodeInvalidArgument, connect.CodeNotFound:
		return exitUsage
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return exitRefused
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeResourceExhausted:
		return exitUnreachable
	}
	return exitFailed
}

// explainRemote is explainAPI for a hub across a network, which may also be out of reach,
// or another one.
func explainRemote(at string, err error) error {
	var c *connect.Error
	var known *failure
	var unknown *tls.CertificateVerificationError
	switch {
	case !errors.As(err, &c) || errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, api.ErrPin):
		return &failure{code: exitRefused, err: fmt.Errorf("hub %s: %w", at, api.ErrPin),
			hint: "check the address, and whether the hub was set up anew: tidemark hub prints its pin at its start; the token was not sent to it"}
	case errors.As(err, &unknown) && len(unknown.UnverifiedCertificates) > 0:
		pin := change.Hash(sha256.Sum256(unknown.UnverifiedCertificates[0].RawSubjectPublicKeyInfo))
		return &failure{code: exitRefused, err: fmt.Errorf("hub %s: nobody whom this machine trusts vouches for its certificate: %w", at, unknown.Err),
			hint: fmt.Sprintf("its pin is %s\ncompare that with what tidemark hub printed at its start; when it is the same: --pin %[1]s\nor trust its certificate: --ca FILE; the token was not sent to it", pin)}
	case connect.IsWireError(err):
		f := &failure{}
		if e := explainAPI(err); errors.As(e, &f) {
			return &failure{code: f.code, err: fmt.Errorf("hub %s: %w", at, f.err), hint: f.hint}
		}
		return err
	}
	switch c.Code() {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeUnknown:
		return &failure{code: exitUnreachable, err: fmt.Errorf("hub %s: %s", at, cause(c)),
			hint: "check the address and the network, and that the hub serves its console there: tidemark hub prints where"}
	}
	return &failure{code: exitUnreachable, err: fmt.Errorf("%s does not answer as a hub's console does: %s", at, c.Message()),
		hint: "give the console's address, not that for devices: tidemark hub prints both"}
}

// cause is what went wrong on the way, without the request that it happened to.
func cause(c *connect.Error) string {
	text := c.Message()
	if i := strings.LastIndex(text, "dial tcp "); i >= 0 {
		return text[i+len("dial tcp "):]
	}
	return text
}

// timeIn is a time of a message; zero when it is absent.
func timeIn(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// pageSize is how much one call asks for.
const pageSize = 1000

// pages asks for page after page until there is none, or fn has enough.
func pages(ask func(*pb.Page) (next string, enough bool, err error)) error {
	p := &pb.Page{PageSize: pageSize}
	for {
		next, enough, err := ask(p)
		if err != nil || enough || next == "" {
			return err
		}
		p = &pb.Page{PageSize: pageSize, PageToken: next}
	}
}

// orDash is a text for a table.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
