package main

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// known are the errors of the rooms that have a code and a hint of their own,
// most telling first.
var known = []struct {
	err  error
	code int
	hint string
}{
	{disk.ErrLocked, exitFailed, "only one agent or sync run may work on a file, and one hub on a directory: stop the other one first"},
	{run.ErrNoDir, exitUsage, "check the path, or make the directory first; the token was not used"},
	{run.ErrDir, exitUsage, "name the SQLite file itself"},
	{run.ErrNoFile, exitUsage, "check the path; tidemark join TOKEN FILE makes a new file and enrols it"},
	{run.ErrNotJoined, exitUsage, "enrol it first: tidemark join TOKEN FILE"},
	{run.ErrNoKey, exitFailed, "put FILE-tidemark back as it was; or tidemark detach FILE, and join again with a token of its own"},
	{run.ErrJoined, exitUsage, "tidemark status FILE shows its hub; tidemark detach FILE takes it out again; if it is a copy, --anew makes it a device of its own"},
	{run.ErrOtherHub, exitUsage, "take it out first, which keeps its data: tidemark detach FILE"},
	{serve.ErrNoHub, exitUsage, "name the hub's directory with --data, or make one: tidemark hub --config tidemark.yaml --import APP.db"},
	{serve.ErrNoTables, exitUsage, "a new hub needs its tables: tidemark hub --config tidemark.yaml --import APP.db, or --schema"},
	{serve.ErrHubExists, exitUsage, "start it without --import, or name another directory with --data"},
	{serve.ErrNoConfig, exitUsage, "tidemark init APP.db -o tidemark.yaml proposes one; then: tidemark hub --config tidemark.yaml"},
	{serve.ErrKeys, exitUsage, "all hubs of one database have the same keys: copy tls/, seal.key and parcel.key into the data directory, cp -a or scp -rp; nothing was changed"},
	{serve.ErrNoURL, exitUsage, "start the hub once, set hub.url in tidemark.yaml, or give --url https://HOST:PORT"},
	{run.ErrNoRecipient, exitFailed, "tidemark outbox recipient prints it at the hub: give it with --recipient age1…"},
	{run.ErrNoTransaction, exitUsage, "tidemark queue list FILE shows them, with their ids"},
	{run.ErrDamaged, exitFailed, "tidemark doctor FILE tells more; keep a copy, then sqlite3 FILE .recover, or restore a backup"},
	{run.ErrUnsafe, exitUnsafe, "sync first: tidemark sync --once FILE; or --force, which exports the work first"},
	{transport.ErrPin, exitRefused, "the server is not the hub that made the token: check the address, or whether the hub was set up anew; nothing was sent to it"},
	{transport.ErrUnreachable, exitUnreachable, "local work is kept; check the network and that the hub runs: tidemark doctor FILE"},
	{run.ErrToken, exitUsage, "copy the whole token, as tidemark device add printed it"},
	{syscall.EADDRINUSE, exitFailed, "another program listens there: stop it, or name another address with --listen HOST:PORT"},
	{syscall.ENOTDIR, exitUsage, "check the path: a file is where a directory is meant"},
	{syscall.EISDIR, exitUsage, "name the file itself, not a directory"},
	{fs.ErrNotExist, exitUsage, "check the path"},
	{fs.ErrPermission, exitFailed, "check who owns it, and who runs tidemark"},
}

// explainRoom finds the code and hint of an error that a room returned, or nil.
func explainRoom(err error) *failure {
	var faults config.Faults
	if errors.As(err, &faults) {
		return &failure{code: exitUsage, err: err, hint: "tidemark config reference explains every key"}
	}
	var f *wire.Fault
	if errors.As(err, &f) {
		code := exitFailed
		switch {
		case f.Fatal:
			code = exitRefused
		case f.RetryAfter > 0:
			code = exitUnreachable
		}
		return &failure{code: code, err: err, hint: f.Hint}
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return &failure{code: k.code, err: err, hint: k.hint}
		}
	}
	switch {
	case sqlite.IsDamaged(err):
		return &failure{code: exitFailed, err: err, hint: "the file is damaged or no SQLite file: tidemark doctor FILE tells more; keep a copy before anything else"}
	case sqlite.IsBusy(err):
		return &failure{code: exitFailed, err: err, hint: "another program holds the file's lock: try again when it is done"}
	case sqlite.IsFull(err):
		return &failure{code: exitFailed, err: err, hint: "the disk is full: free some space and try again; nothing was lost"}
	case sqlite.IsReadOnly(err):
		return &failure{code: exitFailed, err: err, hint: "the file and its directory must be writable (SQLite puts its journal there)"}
	case sqlite.IsGone(err):
		return &failure{code: exitFailed, err: err, hint: "check the path, and who may read it"}
	}
	return nil
}
