package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var rewrite = flag.Bool("rewrite", false, "write docs/reference anew from the verbs")

// The reference pages are what the verbs say of themselves. After a change:
// go test ./cmd/tidemark -run Reference -rewrite
func TestReferenceIsFresh(t *testing.T) {
	for page, want := range map[string]string{"cli.md": cliPage(), "exit-codes.md": exitPage()} {
		path := filepath.Join("..", "..", "docs", "reference", page)
		if *rewrite {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the verbs say; write it anew: go test ./cmd/tidemark -run Reference -rewrite", path)
		}
	}
}

func cliPage() string {
	var b bytes.Buffer
	root := newRoot(&door{out: &b, err: &b})
	b.WriteString("<!-- Made from the verbs: go test ./cmd/tidemark -run Reference -rewrite -->\n# Commands\n\n")
	b.WriteString("Every verb takes `--json` (one document on standard output; the verbs that go on print one JSON line per\n" +
		"event) and `-v` (log details), and ends with one of the [exit codes](exit-codes.md). Results go to standard\n" +
		"output, everything else to standard error.\n\n")
	for _, c := range verbs(root) {
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", name(c), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	}
	for _, c := range verbs(root) {
		verbPage(&b, c)
	}
	return b.String()
}

// verbs lists the runnable commands, in the order in which help shows them.
func verbs(c *cobra.Command) (out []*cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.Name() == "help" || sub.Name() == "completion" || !sub.Runnable() && !sub.HasSubCommands() {
			continue
		}
		out = append(out, sub)
		out = append(out, verbs(sub)...)
	}
	return out
}

func name(c *cobra.Command) string { return strings.TrimPrefix(c.CommandPath(), "tidemark ") }

func verbPage(b *bytes.Buffer, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
	if c.Long != "" {
		fmt.Fprintf(b, "\n%s\n", c.Long)
	}
	if c.HasSubCommands() {
		return // its verbs follow
	}
	fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
	if c.Example != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	var rows []string
	list := func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "json" || f.Name == "verbose" {
			return
		}
		flag := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			flag = "`-" + f.Shorthand + "`, " + flag
		}
		kind, text := pflag.UnquoteUsage(f)
		if def := f.DefValue; def != "" && def != "false" && def != "[]" && def != "0" && def != "0s" && !strings.Contains(text, "(default") {
			text += " (default `" + def + "`)"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |", flag, kind, strings.ReplaceAll(text, "|", `\|`)))
	}
	c.LocalFlags().VisitAll(list)
	c.InheritedFlags().VisitAll(list)
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n| flag | value | meaning |\n|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	}
}

func exitPage() string {
	var b strings.Builder
	b.WriteString("<!-- Made from the verbs: go test ./cmd/tidemark -run Reference -rewrite -->\n# Exit codes\n\n")
	for _, line := range strings.Split(strings.TrimRight(exitHelp, "\n"), "\n") {
		code, text, ok := strings.Cut(strings.TrimSpace(line), "  ")
		switch {
		case !ok && line != "":
			fmt.Fprintf(&b, "%s\n\n| code | meaning |\n|---|---|\n", line)
		case ok:
			fmt.Fprintf(&b, "| %s | %s |\n", code, text)
		}
	}
	b.WriteString("\nScripts may rely on them. With `--json` a failure is a document `{\"error\": {\"message\", \"hint\", \"exit_code\"}}`, unless\n" +
		"the verb's own document says it already. `tidemark exit-codes` prints this list.\n")
	return b.String()
}
