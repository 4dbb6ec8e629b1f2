package api

import (
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// timeOut is a time as people get it; nil for none.
func timeOut(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// spanOut is a duration as people get it; nil for none.
func spanOut(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func valueOut(v change.Value) *pb.Value {
	switch v.Kind() {
	case change.KindInt:
		return &pb.Value{Kind: &pb.Value_Integer{Integer: v.Int()}}
	case change.KindFloat:
		return &pb.Value{Kind: &pb.Value_Real{Real: v.Float()}}
	case change.KindText:
		if !utf8.ValidString(v.Str()) {
			return &pb.Value{Kind: &pb.Value_RawText{RawText: []byte(v.Str())}}
		}
		return &pb.Value{Kind: &pb.Value_Text{Text: v.Str()}}
	case change.KindBlob:
		return &pb.Value{Kind: &pb.Value_Blob{Blob: []byte(v.Str())}}
	}
	return &pb.Value{Kind: &pb.Value_Null{Null: true}}
}

// valueIn reads a value; one that says nothing is NULL.
func valueIn(v *pb.Value) change.Value {
	switch k := v.GetKind().(type) {
	case *pb.Value_Integer:
		return change.Int(k.Integer)
	case *pb.Value_Real:
		return change.Float(k.Real)
	case *pb.Value_Text:
		return change.Text(k.Text)
	case *pb.Value_Blob:
		return change.Blob(k.Blob)
	case *pb.Value_RawText:
		return change.Text(string(k.RawText))
	}
	return change.Null
}

func valuesOut(list []change.Value) []*pb.Value {
	out := make([]*pb.Value, len(list))
	for i, v := range list {
		out[i] = valueOut(v)
	}
	return out
}

func keyOut(k change.Key) *pb.Key { return &pb.Key{Values: valuesOut(k)} }

func keyIn(k *pb.Key) change.Key {
	var out change.Key
	for _, v := range k.GetValues() {
		out = append(out, valueIn(v))
	}
	return out
}

func grantsOut(list []rule.Grant) []*pb.Grant {
	out := make([]*pb.Grant, len(list))
	for i, g := range list {
		out[i] = &pb.Grant{Scope: string(g.Scope), Read: g.Verbs&rule.Read != 0, Insert: g.Verbs&rule.Insert != 0,
			Update: g.Verbs&rule.Update != 0, Delete: g.Verbs&rule.Delete != 0}
	}
	return out
}

func grantsIn(list []*pb.Grant) []rule.Grant {
	var out []rule.Grant
	for _, g := range list {
		verbs := rule.Read
		for _, v := range []struct {
			on  bool
			bit rule.Verb
		}{{g.GetInsert(), rule.Insert}, {g.GetUpdate(), rule.Update}, {g.GetDelete(), rule.Delete}} {
			if v.on {
				verbs |= v.bit
			}
		}
		out = append(out, rule.Grant{Scope: rule.ScopeID(g.GetScope()), Verbs: verbs})
	}
	return out
}
