package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tidemark": main})
}

// The scripts run the real binary: real hubs on loopback ports, real files, the
// sqlite3 shell as the application.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":  cmdCode,
			"until": cmdUntil,
			"flip":  cmdFlip,
			"serve": cmdServe,
			"front": cmdFront,
			"port":  cmdPort,
			"take":  cmdTake,
			"get":   cmdGet,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}

// code N command…: the command must end with exit code N. Its output is then
// there for stdout and stderr.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [argument…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = strings.TrimPrefix(exit.String(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// until PATTERN command…: repeats the command until its standard output matches,
// for at most 30 seconds.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] until PATTERN command [argument…]")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		_ = ts.Exec(args[1], args[2:]...) // it may fail while things start
		if re.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%q never came:\n%s%s", args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
}

// serve DIR: waits until a hub listens there, and sets ADDR and URL to where.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	cmdUntil(ts, false, []string{`"state": "listening"`, "tidemark", "status", "--json", "--data", args[0]})
	var at struct{ URL string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0]+"/endpoint.json")), &at))
	ts.Setenv("URL", at.URL)
	ts.Setenv("ADDR", strings.TrimPrefix(at.URL, "https://"))
}

// front DIR: sets CONSOLE and PIN to where the console of a hub that listens is.
func cmdFront(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: front DIR")
	}
	var at struct{ URL, Pin string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0]+"/console.json")), &at))
	ts.Setenv("CONSOLE", at.URL)
	ts.Setenv("PIN", at.Pin)
}

// flip FILE: inverts the bytes of a file's last three quarters.
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	for i := len(b) / 4; i < len(b); i++ {
		b[i] ^= 0x5a
	}
	ts.Check(os.WriteFile(path, b, 0o600))
}
