package change

import (
	"encoding/json"
	"math"
	"testing"
)

func TestValueJSON_RoundTrip(t *testing.T) {
	for _, tc := range []struct {
		v    Value
		want string
	}{
		{Null, `null`},
		{Int(0), `0`},
		{Int(-7), `-7`},
		{Int(math.MaxInt64), `{"int":"9223372036854775807"}`},
		{Int(math.MinInt64), `{"int":"-9223372036854775808"}`},
		{Float(1), `1.0`},
		{Float(math.Copysign(0, -1)), `-0.0`},
		{Float(1.5e300), `1.5e+300`},
		{Float(0.1), `0.1`},
		{Float(math.Inf(-1)), `{"real":"-Inf"}`},
		{Text(""), `""`},
		{Text("a\x00\"ü"), `"a\u0000\"ü"`},
		{Text("\xff\xfe"), `{"text":"fffe"}`},
		{Blob(nil), `{"blob":""}`},
		{Blob([]byte{0, 255}), `{"blob":"00ff"}`},
	} {
		b, err := json.Marshal(tc.v)
		if err != nil || string(b) != tc.want {
			t.Errorf("Marshal(%v) = %s, %v; want %s", tc.v, b, err, tc.want)
		}
		var back Value
		if err := json.Unmarshal(b, &back); err != nil || back != tc.v {
			t.Errorf("Unmarshal(%s) = %v, %v; want %v", b, back, err, tc.v)
		}
	}
}

func TestValueJSON_Refuses(t *testing.T) {
	for _, s := range []string{`{}`, `{"int":"x"}`, `{"real":"x"}`, `{"blob":"0"}`, `{"date":"1"}`, `{"int":1}`, `true`, `[1]`, `1.2.3`, `{"int":"1","blob":""}`} {
		var v Value
		if err := v.UnmarshalJSON([]byte(s)); err == nil {
			t.Errorf("Unmarshal(%s) = %v, want an error", s, v)
		}
	}
}
