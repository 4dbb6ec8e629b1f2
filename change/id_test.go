package change

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestIDsRoundTripAsText(t *testing.T) {
	src := bytes.NewReader(bytes.Repeat([]byte{0xab, 0xcd, 0xef, 0x01}, 12))
	tx, err := NewTxID(src)
	if err != nil {
		t.Fatal(err)
	}
	dev, _ := NewDeviceID(src)
	inc, _ := NewIncarnation(src)
	in := struct {
		T TxID
		D DeviceID
		I Incarnation
		H Hash
		S SchemaHash
	}{tx, dev, inc, Hash{1, 2, 3}, SchemaHash{4, 5}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := in
	out.T, out.D, out.I, out.H, out.S = TxID{}, DeviceID{}, Incarnation{}, Hash{}, SchemaHash{}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if in != out {
		t.Errorf("%v came back as %v", in, out)
	}
	if s := tx.String(); s[14] != '4' || !strings.ContainsRune("89ab", rune(s[19])) {
		t.Errorf("%s is not a version 4 uuid", s)
	}
	if tx.IsZero() || dev.IsZero() || inc.IsZero() || !(TxID{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestIDsRefuseWhatIsNotOne(t *testing.T) {
	for _, s := range []string{"", "x", "abababab-abab-4bab-8bab-abababababa", "abababab-abab-4bab-8bab-ababababababa", "abababababab-4bab-8bab-abababababab-", "zbababab-abab-4bab-8bab-abababababab"} {
		if _, err := ParseTxID(s); err == nil {
			t.Errorf("ParseTxID(%q) passed", s)
		}
		if _, err := ParseDeviceID(s); err == nil || !strings.Contains(err.Error(), "device id") {
			t.Errorf("ParseDeviceID(%q): %v", s, err)
		}
		if _, err := ParseIncarnation(s); err == nil {
			t.Errorf("ParseIncarnation(%q) passed", s)
		}
	}
	var h Hash
	if h.UnmarshalText([]byte("12")) == nil || h.UnmarshalText(bytes.Repeat([]byte("z"), 64)) == nil {
		t.Error("a hash that is none passed")
	}
	var sh SchemaHash
	if sh.UnmarshalText([]byte("12")) == nil {
		t.Error("a schema hash that is none passed")
	}
	if _, err := NewTxID(bytes.NewReader([]byte{1})); err == nil {
		t.Error("an id from too little randomness")
	}
}

func TestCursorRoundTrip(t *testing.T) {
	for _, c := range []Cursor{{}, {Epoch: 1}, {Epoch: 1 << 63, Token: "12.-5"}, {Token: "10:20:10,14"}} {
		got, err := ParseCursor(c.String())
		if err != nil || got != c {
			t.Errorf("%q came back as %q, err %v", c, got, err)
		}
	}
	for _, s := range []string{"12", "xyz:1"} {
		if _, err := ParseCursor(s); err == nil {
			t.Errorf("ParseCursor(%q) passed", s)
		}
	}
}

func TestHLCParts(t *testing.T) {
	h := NewHLC(1_700_000_000_123, 77)
	if h.Millis() != 1_700_000_000_123 || h.Count() != 77 || h.Time().UnixMilli() != 1_700_000_000_123 {
		t.Errorf("%d %d %v", h.Millis(), h.Count(), h.Time())
	}
	if NewHLC(5, 0xffff) >= NewHLC(6, 0) {
		t.Error("a later millisecond must be larger whatever the counter")
	}
}

func TestNamesOfKinds(t *testing.T) {
	want := "null integer real text blob kind(9)"
	var got []string
	for _, k := range []Kind{KindNull, KindInt, KindFloat, KindText, KindBlob, 9} {
		got = append(got, k.String())
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%q, want %q", s, want)
	}
	if Insert.String()+Update.String()+Delete.String()+OpKind(9).String() != "insertupdatedeleteop?" {
		t.Error("names of operations")
	}
}

func TestRowsViews(t *testing.T) {
	r := Rows{Table: "t", Columns: []string{"a", "b", "c"}, Key: []int{2, 0},
		Values: []Value{Int(1), Int(2), Int(3), Int(4), Int(5), Int(6)},
		Gone:   []Value{Int(7), Int(8)}}
	if r.Len() != 2 || r.GoneLen() != 1 || r.Row(1)[1] != Int(5) {
		t.Errorf("%d %d %v", r.Len(), r.GoneLen(), r.Row(1))
	}
	if !r.KeyOf(1).Equal(Key{Int(6), Int(4)}) || !r.GoneKey(0).Equal(Key{Int(7), Int(8)}) {
		t.Errorf("%v %v", r.KeyOf(1), r.GoneKey(0))
	}
	var empty Rows
	if empty.Len() != 0 || empty.GoneLen() != 0 {
		t.Error("the zero Rows is not empty")
	}
	if row := r.Row(0); cap(row) != 3 {
		t.Error("appending to a row would overwrite the next")
	}
	op := Op{Columns: []string{"x", "y"}}
	if op.Column("y") != 1 || op.Column("z") != -1 {
		t.Error("Op.Column")
	}
}
