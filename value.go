package tidemark

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// timeForm is how a time.Time is stored: always UTC and of one length, so that
// texts sort as times do.
const timeForm = "2006-01-02T15:04:05.000000000Z"

// value is a Go value as SQLite stores it.
func value(a any) (change.Value, error) {
	switch a := a.(type) {
	case nil:
		return change.Null, nil
	case change.Value:
		return a, nil
	case int64:
		return change.Int(a), nil
	case float64:
		return float(a)
	case string:
		return change.Text(a), nil
	case []byte:
		if a == nil {
			return change.Null, nil
		}
		return change.Blob(a), nil
	case bool:
		if a {
			return change.Int(1), nil
		}
		return change.Int(0), nil
	case time.Time:
		if y := a.UTC().Year(); y < 0 || y > 9999 {
			return change.Null, fmt.Errorf("the year %d has no text form of four digits", y)
		}
		return change.Text(a.UTC().Format(timeForm)), nil
	}
	return reflected(reflect.ValueOf(a))
}

// reflected is value for the other sizes of numbers, named types and pointers.
func reflected(v reflect.Value) (change.Value, error) {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return change.Int(v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if v.Uint() > math.MaxInt64 {
			return change.Null, fmt.Errorf("%d is larger than SQLite's largest integer", v.Uint())
		}
		return change.Int(int64(v.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return float(v.Float())
	case reflect.String:
		return change.Text(v.String()), nil
	case reflect.Bool:
		return value(v.Bool())
	case reflect.Pointer:
		if v.IsNil() {
			return change.Null, nil
		}
		return value(v.Elem().Interface())
	}
	return change.Null, fmt.Errorf("a %s has no form in SQLite", v.Type())
}

func float(f float64) (change.Value, error) {
	if math.IsNaN(f) {
		return change.Null, errors.New("NaN has no form in SQLite, which would store NULL")
	}
	return change.Float(f), nil
}

// assign puts a stored value where dest points to.
func assign(dest any, v change.Value) error {
	want := change.KindInt
	switch d := dest.(type) {
	case *change.Value:
		*d = v
		return nil
	case *any:
		*d = plain(v)
		return nil
	case *int64:
		*d = v.Int()
	case *int:
		*d = int(v.Int())
		if int64(*d) != v.Int() {
			return fmt.Errorf("%d does not fit an int", v.Int())
		}
	case *bool:
		*d = v.Int() != 0
	case *float64:
		return assignFloat(d, v)
	case *string:
		*d, want = v.Str(), change.KindText
	case *[]byte:
		return assignBytes(d, v)
	case *time.Time:
		return assignTime(d, v)
	default:
		return fmt.Errorf("cannot read into a %T", dest)
	}
	return mustBe(want, v)
}

func mustBe(want change.Kind, v change.Value) error {
	if v.Kind() != want {
		return fmt.Errorf("it holds %s, not %s", v.Kind(), want)
	}
	return nil
}

func assignFloat(d *float64, v change.Value) error {
	if v.Kind() == change.KindInt && int64(float64(v.Int())) == v.Int() && v.Int() != math.MaxInt64 {
		*d = float64(v.Int())
		return nil
	}
	*d = v.Float()
	return mustBe(change.KindFloat, v)
}

func assignBytes(d *[]byte, v change.Value) error {
	if v.IsNull() {
		*d = nil
		return nil
	}
	*d = []byte(v.Str())
	return mustBe(change.KindBlob, v)
}

func assignTime(d *time.Time, v change.Value) error {
	if err := mustBe(change.KindText, v); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, v.Str())
	if err != nil {
		return err
	}
	*d = t
	return nil
}

// plain is a stored value in Go's own types.
func plain(v change.Value) any {
	switch v.Kind() {
	case change.KindInt:
		return v.Int()
	case change.KindFloat:
		return v.Float()
	case change.KindText:
		return v.Str()
	case change.KindBlob:
		return []byte(v.Str())
	}
	return nil
}
