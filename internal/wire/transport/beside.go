package transport

// Beside is a wire.Beside: work has a goroutine of its own. What work panics with, wait
// panics with.
func Beside(work func()) (wait func()) {
	ended := make(chan any, 1)
	go func() {
		var why any
		defer func() { ended <- why }()
		defer func() { why = recover() }()
		work()
	}()
	return func() {
		if why := <-ended; why != nil {
			panic(why)
		}
	}
}
