package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A key is one setting of the hub: or edge: section.
type key struct {
	path  string
	field func(*Config) any // a pointer to where it is kept
	def   any               // nil: none
	doc   string
	low   any // bounds, inclusive; nil: none
	high  any
	check func(string) error // of a text that is set, and of each in a list
}

// keys are all settings outside tables:, in the order of the reference page.
func keys() []key {
	return slices.Concat(addressKeys(), consoleKeys(), limitKeys(), hubKeys(), edgeKeys())
}

func addressKeys() []key {
	return []key{
		{path: "hub.name", field: func(c *Config) any { return &c.Hub.Name }, def: DefaultName,
			doc: "What the hub calls itself, for people."},
		{path: "hub.listen", field: func(c *Config) any { return &c.Hub.Listen }, def: DefaultListen, check: checkListen,
			doc: "Address and port to serve on. Without an address: all of them."},
		{path: "hub.url", field: func(c *Config) any { return &c.Hub.URL }, check: checkURL,
			doc: "How devices reach the hub; goes into join tokens. Without it: this machine's name and the port of `listen`."},
	}
}

func consoleKeys() []key {
	return []key{
		{path: "hub.console.listen", field: func(c *Config) any { return &c.Hub.Console.Listen }, check: checkListen,
			doc: "Address and port of the console and the admin API, for people. Without it: `127.0.0.1:8440`, this machine alone, or another port when that one is taken."},
		{path: "hub.console.url", field: func(c *Config) any { return &c.Hub.Console.URL }, check: checkURL,
			doc: "How people reach the console; goes into links, and passkeys are bound to its host. Without it: the address of `listen`."},
		{path: "hub.console.certificate", field: func(c *Config) any { return &c.Hub.Console.Certificate },
			doc: "The console's certificate, a PEM file with its chain; read again when it changes. Without it: one that the hub makes, which browsers warn of."},
		{path: "hub.console.key", field: func(c *Config) any { return &c.Hub.Console.Key },
			doc: "The key of `certificate`, a PEM file."},
		{path: "hub.console.off", field: func(c *Config) any { return &c.Hub.Console.Off }, check: among("true", "false"),
			doc: "Whether no console is served at all."},
	}
}

func limitKeys() []key {
	return []key{
		{path: "hub.limits.frame", field: func(c *Config) any { return &c.Hub.Limits.Frame }, def: DefaultFrame, low: 64 * KiB, high: GiB,
			doc: "Largest message accepted."},
		{path: "hub.limits.transaction", field: func(c *Config) any { return &c.Hub.Limits.Transaction }, def: DefaultTransaction, low: 64 * KiB, high: 4 * GiB,
			doc: "Largest transaction accepted, by its values. A larger one is quarantined."},
		{path: "hub.limits.row", field: func(c *Config) any { return &c.Hub.Limits.Row }, def: DefaultRow, low: 4 * KiB, high: GiB,
			doc: "Largest row accepted. A transaction with a larger one is quarantined."},
		{path: "hub.limits.rows", field: func(c *Config) any { return &c.Hub.Limits.Rows }, def: DefaultRows, low: 1, high: 100_000_000,
			doc: "How many rows one transaction may touch."},
		{path: "hub.limits.sessions", field: func(c *Config) any { return &c.Hub.Limits.Sessions }, def: DefaultSessions, low: 1, high: 1_000_000,
			doc: "How many devices may be connected at once; more are asked to come back later."},
		{path: "hub.limits.in_flight", field: func(c *Config) any { return &c.Hub.Limits.InFlight }, low: 1, high: 1_000_000,
			doc: "How much work is done at once: a small push or a pull counts 1, a part of a bootstrap 8. Without it: 32 for each processor, and at least 64."},
		{path: "hub.limits.queue", field: func(c *Config) any { return &c.Hub.Limits.Queue }, def: DefaultQueue, low: 1, high: 1_000_000,
			doc: "How many requests of a kind may wait for their turn; who comes after them is asked to come back later."},
		{path: "hub.limits.memory", field: func(c *Config) any { return &c.Hub.Limits.Memory }, low: 16 * MiB, high: 1024 * GiB,
			doc: "How many bytes requests and unsent answers may take; as much again may wait. Without it: an eighth of the machine's memory, from 64MiB to 1GiB."},
		{path: "hub.limits.cache", field: func(c *Config) any { return &c.Hub.Limits.Cache }, def: DefaultCache, low: MiB, high: 1024 * GiB,
			doc: "How much memory keeps parts of bootstraps that many devices ask for."},
		{path: "hub.limits.rate", field: func(c *Config) any { return &c.Hub.Limits.Rate }, low: 30, high: 1_000_000,
			doc: "How many requests one device may make in a minute, and as many at once after a quiet one; whoever makes more is asked to come back later. With `hub.redis`, all processes count together. Without it: as many as it likes."},
	}
}

func hubKeys() []key {
	return []key{
		{path: "hub.retention.log", field: func(c *Config) any { return &c.Hub.Retention.Log }, def: DefaultLog, low: time.Hour, high: 3650 * day,
			doc: "How long the change log reaches back. A device away for longer downloads its data anew; its unsent work is kept."},
		{path: "hub.heartbeat", field: func(c *Config) any { return &c.Hub.Heartbeat }, def: DefaultHeartbeat, low: time.Second, high: 10 * time.Minute,
			doc: "How often the hub asks a silent device for a sign of life. Three missed ones end the session."},
		{path: "hub.token_ttl", field: func(c *Config) any { return &c.Hub.TokenTTL }, def: DefaultTokenTTL, low: time.Minute, high: 365 * day,
			doc: "How long a join token is good for."},
		{path: "hub.copies", field: func(c *Config) any { return &c.Hub.Copies }, def: DefaultCopies, check: among("allow", "hold"),
			doc: "What becomes of a device's file that was restored from a backup or copied: `allow` lets it go on, and makes a copy that is in use beside it a device of its own; `hold` lets it wait for `tidemark device allow`, with its work in it."},
		{path: "hub.rollback", field: func(c *Config) any { return &c.Hub.Rollback }, def: DefaultRollback, check: among("wait", "recover"),
			doc: "What a hub does that finds its database put back from a copy: `wait` serves nothing until the operator says what for (`tidemark hub --restored`); `recover` takes back what the devices had handed in, at once."},
		{path: "hub.salvage", field: func(c *Config) any { return &c.Hub.Salvage }, def: DefaultSalvage, check: among("true", "false"),
			doc: "Whether devices offer a hub that was restored the rows that it lost and they still hold. They come into quarantine, for a person to decide."},
		{path: "hub.database", field: func(c *Config) any { return &c.Hub.Database.DSN }, check: checkDatabase,
			doc: "The PostgreSQL database to serve, like `postgres://tidemark@db.example.com/shop`. `${NAME}` stands for an environment variable; passwords may also come by PGPASSWORD or PGPASSFILE. Without it: SQLite, in the hub's own directory."},
		{path: "hub.listen_database", field: func(c *Config) any { return &c.Hub.Database.Listen }, check: checkDatabase,
			doc: "The same database reached directly, where `hub.database` leads through pgbouncer in transaction mode: for the connection that hears of commits, and to make tables."},
		{path: "hub.pooled", field: func(c *Config) any { return &c.Hub.Database.Pooled }, def: DefaultPooled, check: among("true", "false"),
			doc: "Whether `hub.database` leads through pgbouncer in transaction mode."},
		{path: "hub.replicas", field: func(c *Config) any { return &c.Hub.Database.Replicas }, check: checkDatabase,
			doc: "Streaming standbys of `hub.database`, to read parts of bootstraps from. One that lags, is gone, or is no standby of it, is not read: then the primary is."},
		{path: "hub.redis", field: func(c *Config) any { return &c.Hub.Redis }, check: checkRedis,
			doc: "A Redis that the hub's processes share parts of bootstraps through, like `redis://cache.example.com:6379/0`; rediss:// and unix:// work, too, and `${NAME}` stands for an environment variable, a password for one. What is kept there is encrypted. Without it, or while it is away: memory."},
		{path: "hub.types", field: func(c *Config) any { return &c.Hub.Database.Types },
			doc: "PostgreSQL types of single columns for tables that `hub --import` or `hub --schema` makes, like `visit.seen_at timestamptz`."},
	}
}

func edgeKeys() []key {
	return []key{
		{path: "edge.hub", field: func(c *Config) any { return &c.Edge.Hub }, check: checkURL,
			doc: "The hub's address, when it differs from the one in the join token."},
		{path: "edge.files", field: func(c *Config) any { return &c.Edge.Files },
			doc: "The SQLite files to keep in sync."},
		{path: "edge.heartbeat", field: func(c *Config) any { return &c.Edge.Heartbeat }, def: DefaultHeartbeat, low: time.Second, high: 10 * time.Minute,
			doc: "How often the edge asks a silent hub for a sign of life. Three missed ones end the session."},
		{path: "edge.retry_max", field: func(c *Config) any { return &c.Edge.RetryMax }, def: DefaultRetryMax, low: time.Second, high: time.Hour,
			doc: "Longest pause between two attempts to reach the hub. Pauses grow up to it, with jitter."},
		{path: "edge.redo", field: func(c *Config) any { return &c.Edge.Redo }, def: DefaultRedo, low: MiB, high: 64 * GiB,
			doc: "How much confirmed work each file keeps, to give it back to a hub that was restored from a backup. The oldest goes first; work that is not confirmed and settled never goes."},
		{path: "edge.redo_age", field: func(c *Config) any { return &c.Edge.RedoAge }, def: DefaultRedoAge, low: day, high: 3650 * day,
			doc: "How long each file keeps confirmed work, within edge.redo. It should be longer than the age of the oldest backup that the hub may ever be restored from."},
		{path: "edge.page", field: func(c *Config) any { return &c.Edge.Page }, check: checkLoopback,
			doc: "Where the agent serves a small page to its own machine, like `127.0.0.1:8441`: is the work safe, what waits, what was refused. Only a loopback address is taken, and any user of the machine can read it. Without it: none is served."},
	}
}

func isZero(field any) bool {
	switch p := field.(type) {
	case *string:
		return *p == ""
	case *int:
		return *p == 0
	case *Size:
		return *p == 0
	case *time.Duration:
		return *p == 0
	case *[]string:
		return len(*p) == 0
	}
	return false
}

func assign(field, v any) {
	switch p := field.(type) {
	case *string:
		*p = v.(string)
	case *int:
		*p = v.(int)
	case *Size:
		*p = v.(Size)
	case *time.Duration:
		*p = v.(time.Duration)
	}
}

// parseInto sets a field from a scalar's text.
func parseInto(field any, s string) (err error) {
	switch p := field.(type) {
	case *string:
		*p = s
	case *int:
		if *p, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("want a whole number, not %q", s)
		}
	case *Size:
		*p, err = ParseSize(s)
	case *time.Duration:
		*p, err = ParseDuration(s)
	}
	return err
}

// form is how the reference page calls a field's type.
func form(field any) string {
	switch field.(type) {
	case *int:
		return "number"
	case *Size:
		return "size"
	case *time.Duration:
		return "duration"
	case *[]string:
		return "list"
	}
	return "text"
}

// spelled is a value as one writes it in the file.
func spelled(v any) string {
	switch v := v.(type) {
	case Size:
		return v.String()
	case time.Duration:
		return FormatDuration(v)
	}
	return fmt.Sprint(v)
}

// rank makes bounds and fields of one type comparable.
func rank(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case *int:
		return int64(*v)
	case Size:
		return int64(v)
	case *Size:
		return int64(*v)
	case time.Duration:
		return int64(v)
	case *time.Duration:
		return int64(*v)
	}
	return math.MinInt64
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("want address:port, such as \":8443\" or \"10.0.0.5:8443\", not %q", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return nil
}

// checkLoopback knows addresses. What a name stands for is looked up where it is used.
func checkLoopback(s string) error {
	if err := checkListen(s); err != nil {
		return fmt.Errorf("want an address of this machine alone, such as \"127.0.0.1:8441\", not %q", s)
	}
	host, _, _ := net.SplitHostPort(s)
	if ip := net.ParseIP(host); host == "" || ip != nil && !ip.IsLoopback() {
		return fmt.Errorf("%q can be reached from other machines; want a loopback address, such as \"127.0.0.1:8441\"", s)
	}
	return nil
}

// among wants one of a few words.
func among(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		return fmt.Errorf("want %s, not %q", strings.Join(words, " or "), s)
	}
}

// checkDatabase never repeats what it was given: there may be a password in it.
func checkDatabase(s string) error {
	if wholeVariable.MatchString(s) {
		return nil
	}
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if strings.HasPrefix(s, scheme) {
			return nil
		}
	}
	return errors.New("want an address like postgres://user@db.example.com/name, or ${NAME}, an environment variable that holds one")
}

// checkRedis never repeats what it was given, either.
func checkRedis(s string) error {
	if wholeVariable.MatchString(s) {
		return nil
	}
	for _, scheme := range []string{"redis://", "rediss://", "unix://"} {
		if strings.HasPrefix(s, scheme) {
			return nil
		}
	}
	return errors.New("want an address like redis://cache.example.com:6379/0, or ${NAME}, an environment variable that holds one")
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("want an address like https://hub.example.com:8443, not %q", s)
	}
	return nil
}
