package main

import (
	"github.com/spf13/cobra"
)

// newRoot lists the verbs in the order in which a person meets them.
func newRoot(d *door) *cobra.Command {
	root := &cobra.Command{
		Use:   "tidemark",
		Short: "offline-first sync for ordinary SQLite files",
		Long: `Tidemark syncs ordinary SQLite files with a hub: both ways, whole transactions,
exactly once, offline for as long as it takes. Applications keep using plain SQL.

  tidemark init shop.db                     propose tidemark.yaml from a file
  tidemark hub --import shop.db             serve it as the hub
  tidemark device add till-7 --scope all --scope branch/7
  tidemark join TOKEN till.db               enrol a file, and fill it
  tidemark edge till.db                     keep it in sync`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) > 0 {
				return unknownVerb(cmd, list[0])
			}
			return cmd.Help()
		},
	}
	root.SetOut(d.out)
	root.SetErr(d.err)
	root.SetFlagErrorFunc(flagFault)
	root.PersistentFlags().BoolVar(&d.json, "json", false, "print results as JSON, and logs as JSON lines")
	root.PersistentFlags().BoolVarP(&d.verbose, "verbose", "v", false, "log details")
	root.AddGroup(
		&cobra.Group{ID: "begin", Title: "To begin:"},
		&cobra.Group{ID: "hub", Title: "At the hub:"},
		&cobra.Group{ID: "edge", Title: "At an edge:"},
		&cobra.Group{ID: "both", Title: "At either:"},
	)
	add := func(group string, list ...*cobra.Command) {
		for _, c := range list {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("begin", demoVerb(d), initVerb(d), configVerb(d))
	add("hub", hubVerb(d), peopleVerb(d), deviceVerb(d), conflictsVerb(d), dataVerb(d), leaseVerb(d), schemaVerb(d))
	add("edge", joinVerb(d), edgeVerb(d), syncVerb(d), verifyVerb(d), migrateVerb(d), detachVerb(d))
	add("both", statusVerb(d), queueVerb(d), outboxVerb(d), doctorVerb(d))
	root.AddCommand(benchVerb(d), versionVerb(d), &cobra.Command{
		Use: "exit-codes", Short: "What the exit codes mean", Long: exitHelp,
	})
	return root
}

func unknownVerb(cmd *cobra.Command, name string) error {
	hint := "tidemark help lists the verbs"
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		hint = "did you mean: tidemark " + s[0]
	}
	return fail(exitUsage, errUnknownVerb(name), hint)
}

type errUnknownVerb string

func (e errUnknownVerb) Error() string { return "unknown verb " + string(e) }
