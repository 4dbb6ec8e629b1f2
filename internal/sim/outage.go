package sim

// cutBase ends every connection to the hub's database, between two calls.
func (w *world) cutBase() error {
	w.loseSlow()
	w.logf("connections to the hub's database are cut")
	return w.hub.base.cut()
}

// crashBase kills the database's server, and starts it again.
func (w *world) crashBase() error {
	w.loseSlow()
	w.logf("the hub's database server is killed")
	w.sometimes("database server killed")
	return w.hub.base.crash()
}

// loseSlow takes note that an open transaction goes down with its connection.
func (w *world) loseSlow() {
	if s := w.hub.slow; s != nil && s.now != nil {
		w.logf("slow app loses %s", s.now.ledger)
		s.now = nil
	}
}

// An interference is what happened to the database in the middle of a call.
type interference struct {
	lost bool // the connections to it
	err  error
}

// interfere sometimes lets something happen to the database in the middle of the next
// call at the hub.
func (w *world) interfere() *interference {
	i, h := new(interference), w.hub
	if w.opt.Families&(Outages|Collisions) == 0 || w.opt.calm || h.rng.IntN(6) != 0 {
		return i
	}
	cuts := w.opt.Families&Collisions == 0 || w.opt.Families&Outages != 0 && h.rng.IntN(2) == 0
	h.clock.fuse = 1 + h.rng.IntN(6)
	h.clock.blow = func() {
		if cuts {
			w.loseSlow()
			i.lost, i.err = true, h.base.cut()
			return
		}
		w.sometimes("somebody wrote in the middle of a call")
		i.err = w.hubWrites()
	}
	return i
}
