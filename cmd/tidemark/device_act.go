package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// bindAt gives a verb the version of what it changes.
func bindAt(c *cobra.Command, at *string) {
	c.Flags().StringVar(at, "at", "", "only if it is still at this version, as show --json told it: somebody else may have changed it")
}

// onDevice does something to a device through the admin API, and shows what it is then.
func (o *officeFlags) onDevice(cmd *cobra.Command, d *door, do func(context.Context, *bureau) (*connect.Response[pb.Device], error), tell func(*pb.Device) (any, string)) error {
	return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
		res, err := do(ctx, b)
		if err != nil {
			return err
		}
		out, text := tell(res.Msg)
		return d.show(out, func(w io.Writer) { fmt.Fprintln(w, text) })
	})
}

// done is what most acts on a device answer.
func done(what string, v *pb.Device, reason string) map[string]string {
	out := map[string]string{what: v.GetId(), "name": v.GetName()}
	if reason != "" {
		out["reason"] = reason
	}
	return out
}

func deviceRename(d *door, o *officeFlags) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:     "rename NAME|ID NEW",
		Short:   "Give a device another name",
		Example: "  tidemark device rename till-7 branch-7-front",
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				return b.Fleet.Rename(ctx, connect.NewRequest(&pb.RenameDeviceRequest{Id: list[0], Name: list[1], Version: at}))
			}, func(v *pb.Device) (any, string) {
				return done("renamed", v, ""), fmt.Sprintf("device %s is called %s now", v.GetId(), v.GetName())
			})
		},
	}
	bindAt(c, &at)
	return c
}

func devicePause(d *door, o *officeFlags) *cobra.Command {
	var reason, at string
	c := &cobra.Command{
		Use:   "pause NAME|ID",
		Short: "Turn a device's sessions away until it is resumed",
		Long: `A paused device cannot hand anything in, nor get anything. Its work stays in its file,
and it goes on where it stopped once it is resumed.`,
		Example: "  tidemark device pause till-7 --reason 'clock is being mended'",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				return b.Fleet.Pause(ctx, connect.NewRequest(&pb.PauseRequest{Id: list[0], Reason: reason, Version: at}))
			}, func(v *pb.Device) (any, string) {
				return done("paused", v, reason), fmt.Sprintf("device %s (%s) is paused", v.GetName(), v.GetId())
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the device's people see it")
	bindAt(c, &at)
	return c
}

func deviceResume(d *door, o *officeFlags) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:     "resume NAME|ID",
		Short:   "Let a paused device go on",
		Example: "  tidemark device resume till-7",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				return b.Fleet.Resume(ctx, connect.NewRequest(&pb.ResumeRequest{Id: list[0], Version: at}))
			}, func(v *pb.Device) (any, string) {
				return done("resumed", v, ""), fmt.Sprintf("device %s (%s) may go on", v.GetName(), v.GetId())
			})
		},
	}
	bindAt(c, &at)
	return c
}

func deviceIsolate(d *door, o *officeFlags) *cobra.Command {
	var reason, at string
	c := &cobra.Command{
		Use:   "isolate NAME|ID",
		Short: "Park everything that a device hands in, until it is released",
		Long: `What an isolated device hands in from now on waits in quarantine, where a person looks
at it, and reaches nobody else. It still gets what others wrote.`,
		Example: "  tidemark device isolate till-7 --reason 'somebody may have its key'",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				return b.Fleet.Isolate(ctx, connect.NewRequest(&pb.IsolateRequest{Id: list[0], Reason: reason, Version: at}))
			}, func(v *pb.Device) (any, string) {
				return done("isolated", v, reason), fmt.Sprintf("what device %s (%s) hands in is parked from now on", v.GetName(), v.GetId())
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the device's people see it")
	bindAt(c, &at)
	return c
}

func deviceRelease(d *door, o *officeFlags) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "release NAME|ID",
		Short: "End a device's isolation, and try what it handed in meanwhile",
		Long: `Release ends what tidemark device isolate began: what the device handed in meanwhile is
tried again, in order. What still cannot be applied stays in quarantine.`,
		Example: "  tidemark device release till-7",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				return b.Fleet.Release(ctx, connect.NewRequest(&pb.ReleaseRequest{Id: list[0], Version: at}))
			}, func(v *pb.Device) (any, string) {
				text := fmt.Sprintf("device %s (%s) is released", v.GetName(), v.GetId())
				if n := v.GetQuarantined(); n > 0 {
					text += fmt.Sprintf("; %s in quarantine: tidemark queue list --device %s", plural(int64(n), "transaction"), word(v.GetName()))
				}
				return done("released", v, ""), text
			})
		},
	}
	bindAt(c, &at)
	return c
}

func deviceAsk(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "ask sync|verify NAME|ID",
		Short: "Ask a device to sync now, or to compare its rows with the hub's",
		Long: `A device that is connected does it at once, any other one as soon as it calls. What came
of a verify is in tidemark device show.`,
		Example:   "  tidemark device ask verify till-7",
		ValidArgs: []string{"sync", "verify"},
		Args:      args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			what := list[0]
			if what != "sync" && what != "verify" {
				return fail(exitUsage, fmt.Errorf("a device cannot be asked to %s", what), "the form is: "+cmd.UseLine())
			}
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				req := connect.NewRequest(&pb.AskRequest{Id: list[1]})
				if what == "sync" {
					return b.Fleet.AskSync(ctx, req)
				}
				return b.Fleet.AskVerify(ctx, req)
			}, func(v *pb.Device) (any, string) {
				when := "as soon as it calls"
				if v.GetConnected() {
					when = "now"
				}
				out := done("asked", v, "")
				out["what"] = what
				return out, fmt.Sprintf("device %s (%s) is asked to %s %s", v.GetName(), v.GetId(), what, when)
			})
		},
	}
}

func deviceAllow(d *door, o *officeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "allow NAME|ID",
		Short: "Let a held file go on: it was restored from a backup, or copied",
		Long: `With hub.copies: hold in tidemark.yaml, a file that goes on from an older state of itself
waits for this word, with its unsent work in it. To shut it out instead, and let the device
go on: tidemark device revoke NAME --held.`,
		Example: "  tidemark device allow till-7",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				return b.judge(ctx, &pb.JudgeRequest{Id: list[0], Allow: true})
			}, func(v *pb.Device) (any, string) {
				return done("allowed", v, ""), fmt.Sprintf("the held file of device %s (%s) may go on; it is back within a minute", v.GetName(), v.GetId())
			})
		},
	}
}

func (b *bureau) judge(ctx context.Context, req *pb.JudgeRequest) (*connect.Response[pb.Device], error) {
	res, err := b.Fleet.Judge(ctx, connect.NewRequest(req))
	if says(err, "not-held") {
		return nil, fail(exitUsage, fmt.Errorf("device %s: %w", req.GetId(), errors.New("no file of this device is held")), hints["not-held"])
	}
	return res, err
}

func deviceRevoke(d *door, o *officeFlags) *cobra.Command {
	var reason, at string
	var held bool
	c := &cobra.Command{
		Use:   "revoke NAME|ID",
		Short: "Shut a device out, from its next message on",
		Long: `Revoking shuts a device out. Its unsent work stays in its file and its parked work
stays here: nothing is lost. To let it in again, add a device and join again.

A device that a copied file became has the key of the first one, and is revoked apart
from it. With --held only files that wait for tidemark device allow are shut out.`,
		Example: "  tidemark device revoke till-7 --reason stolen",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				if held {
					return b.judge(ctx, &pb.JudgeRequest{Id: list[0], Reason: reason})
				}
				return b.Fleet.Revoke(ctx, connect.NewRequest(&pb.RevokeRequest{Id: list[0], Reason: reason, Version: at}))
			}, func(v *pb.Device) (any, string) {
				what, text := "revoked", fmt.Sprintf("device %s (%s) is revoked", v.GetName(), v.GetId())
				if held {
					what, text = "refused", fmt.Sprintf("the held file of device %s (%s) is shut out; the device goes on", v.GetName(), v.GetId())
				}
				return map[string]string{what: v.GetId(), "name": v.GetName(), "reason": reason}, text
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the device's operator sees it")
	c.Flags().BoolVar(&held, "held", false, "shut out only its files that are held; the device goes on")
	bindAt(c, &at)
	return c
}

func deviceGrant(d *door, o *officeFlags) *cobra.Command {
	var g grantFlags
	var at string
	c := &cobra.Command{
		Use:   "grant NAME|ID",
		Short: "Replace a device's scopes and rights",
		Long: `Grant replaces what a device may read and write. Rows of scopes it loses leave its
file at its next pull, except rows with unsent work; rows of new scopes arrive.`,
		Example: "  tidemark device grant till-7 --scope branch/7 --scope branch/8=read",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			grants, err := g.grants()
			if err != nil {
				return err
			}
			return o.onDevice(cmd, d, func(ctx context.Context, b *bureau) (*connect.Response[pb.Device], error) {
				return b.Fleet.SetGrants(ctx, connect.NewRequest(&pb.SetGrantsRequest{Id: list[0], Grants: api.GrantsOf(grants), Version: at}))
			}, func(v *pb.Device) (any, string) {
				return map[string]any{"device": v.GetId(), "name": v.GetName(), "grants": grants}, fmt.Sprintf("device %s now has: %s", v.GetName(), grantText(grants))
			})
		},
	}
	g.bind(c)
	bindAt(c, &at)
	return c
}
