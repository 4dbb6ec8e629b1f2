package demo

import "syscall"

// bound keeps a child out of the terminal's process group, so that Ctrl-C
// reaches the demo alone and the demo ends its children in order. A child dies
// with the demo, however that ends.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
