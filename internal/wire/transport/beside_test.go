package transport

import "testing"

func TestBesideGoesOnAndWaits(t *testing.T) {
	begun, on := make(chan struct{}), make(chan struct{})
	made := 0
	wait := Beside(func() {
		close(begun)
		<-on
		made = 7
	})
	<-begun // while the caller has not waited yet
	close(on)
	if wait(); made != 7 {
		t.Errorf("wait returned before the work was done: %d", made)
	}
}

// A fault in the work is the caller's, who has somebody above to take it.
func TestBesideHandsAPanicOn(t *testing.T) {
	defer func() {
		if why := recover(); why != "broken" {
			t.Errorf("wait panicked with %v", why)
		}
	}()
	Beside(func() { panic("broken") })()
	t.Error("wait returned")
}
