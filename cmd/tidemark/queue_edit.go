package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/run"
)

func queueEdit(d *door, o *officeFlags) *cobra.Command {
	var sets []string
	var drops []int
	var at string
	c := &cobra.Command{
		Use:   "edit TRANSACTION",
		Short: "Change values of a parked transaction, and try it again",
		Long: `Edit changes what a parked transaction writes, or leaves operations of it out, and tries
it again. Operations are numbered as tidemark queue show lists them. A value is an SQL
literal: 12, 1.5, NULL, 'text', x'00ff'; anything else is taken as text.`,
		Example: `  tidemark queue edit 4f1c --set 0.number=18
  tidemark queue edit 4f1c --set "1.note='see file'" --drop 2`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			edits, err := parseEdits(sets, drops)
			if err != nil {
				return err
			}
			return o.settle(cmd, d, list[0], func(ctx context.Context, b *bureau, id string) (*connect.Response[pb.SettleResponse], error) {
				return b.Quarantine.Edit(ctx, connect.NewRequest(&pb.EditRequest{Id: id, Edits: edits, Version: at}))
			})
		},
	}
	c.Flags().StringArrayVar(&sets, "set", nil, "OPERATION.COLUMN=VALUE (repeatable)")
	c.Flags().IntSliceVar(&drops, "drop", nil, "leave this operation out (repeatable)")
	bindAt(c, &at)
	return c
}

func parseEdits(sets []string, drops []int) (out []*pb.OperationEdit, err error) {
	if len(sets)+len(drops) == 0 {
		return nil, fail(exitUsage, errors.New("nothing to change"), "--set OPERATION.COLUMN=VALUE or --drop OPERATION")
	}
	at := map[int]*pb.OperationEdit{}
	edit := func(n int) *pb.OperationEdit {
		if at[n] == nil {
			at[n] = &pb.OperationEdit{Place: uint32(n), Set: map[string]*pb.Value{}} //nolint:gosec // not negative
			out = append(out, at[n])
		}
		return at[n]
	}
	for _, s := range sets {
		where, text, ok := strings.Cut(s, "=")
		num, column, dotted := strings.Cut(where, ".")
		n, err := strconv.Atoi(num)
		if !ok || !dotted || err != nil || n < 0 || column == "" {
			return nil, fail(exitUsage, fmt.Errorf("--set %s: not of the form OPERATION.COLUMN=VALUE", s), "for example --set 0.number=18")
		}
		v, err := literal(text)
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("--set %s: %w", s, err), "a value is 12, 1.5, NULL, 'text' or x'00ff'")
		}
		edit(n).Set[column] = api.ValueOf(v)
	}
	for _, n := range drops {
		if n < 0 {
			return nil, fail(exitUsage, fmt.Errorf("--drop %d: operations are numbered from 0", n), "tidemark queue show lists them")
		}
		edit(n).LeaveOut = true
	}
	return out, nil
}

// literal reads an SQL literal; what is none is text.
func literal(s string) (change.Value, error) {
	if strings.EqualFold(s, "NULL") {
		return change.Null, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return change.Int(n), nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, "0123456789") {
		return change.Float(f), nil
	}
	if len(s) >= 3 && (s[0] == 'x' || s[0] == 'X') && s[1] == '\'' && s[len(s)-1] == '\'' {
		b, err := hex.DecodeString(s[2 : len(s)-1])
		if err != nil {
			return change.Null, fmt.Errorf("blob: %w", err)
		}
		return change.Blob(b), nil
	}
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return change.Text(strings.ReplaceAll(s[1:len(s)-1], "''", "'")), nil
	}
	return change.Text(s), nil
}

func queueExport(d *door, o *officeFlags) *cobra.Command {
	var out string
	var seal []string
	c := &cobra.Command{
		Use:   "export TRANSACTION|FILE",
		Short: "Write waiting work out as JSON, sealed for a recipient if you like",
		Long: `Export writes a parked transaction with every old and new value and the hub's rows, or,
given a file, all its unsettled transactions and rescue copies. --seal encrypts it for
an age recipient (age1…), so that it can travel by mail; age -d opens it.`,
		Example: `  tidemark queue export 4f1c -o parked.json
  tidemark queue export till.db --seal age1... -o till.age`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			to, err := recipients(seal)
			if err != nil {
				return err
			}
			var body []byte
			if _, err := os.Stat(list[0]); err == nil {
				if body, err = run.ExportFile(cmd.Context(), d.edge(list[0])); err != nil {
					return err
				}
				return d.write(body, out, to)
			}
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				id, err := b.findParked(ctx, list[0])
				if err != nil {
					return err
				}
				res, err := b.Quarantine.Export(ctx, connect.NewRequest(&pb.ExportRequest{Id: id}))
				if says(err, "no-such-transaction") {
					return noTransaction(list[0])
				}
				if err != nil {
					return err
				}
				return d.write(res.Msg.GetJson(), out, to)
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the file to write (default: standard output)")
	c.Flags().StringArrayVar(&seal, "seal", nil, "encrypt for this age recipient (repeatable)")
	return c
}

func recipients(list []string) ([]age.Recipient, error) {
	var out []age.Recipient
	for _, s := range list {
		r, err := age.ParseX25519Recipient(strings.TrimSpace(s))
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("recipient %q: %w", s, err), "age-keygen makes a pair: give the public key, age1…")
		}
		out = append(out, r)
	}
	return out, nil
}

// write puts an export where it belongs, sealed when there are recipients.
func (d *door) write(body []byte, path string, to []age.Recipient) (err error) {
	w := d.out
	if path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if err != nil {
			return fail(exitFailed, fmt.Errorf("export: %w", err), "name a file that does not exist yet")
		}
		defer func() {
			if e := f.Close(); err == nil && e != nil {
				err = fmt.Errorf("export: %w", e)
			}
		}()
		w = f
	}
	if len(to) == 0 {
		if _, err := w.Write(append(body, '\n')); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	} else if err := sealTo(w, body, to); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if path != "" {
		d.say("wrote %s", path)
	}
	return nil
}

func sealTo(w io.Writer, body []byte, to []age.Recipient) error {
	a := armor.NewWriter(w)
	s, err := age.Encrypt(a, to...)
	if err != nil {
		return err
	}
	if _, err := s.Write(body); err != nil {
		return err
	}
	return errors.Join(s.Close(), a.Close())
}
