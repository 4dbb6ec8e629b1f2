//go:build !linux

package serve

// machineMemory is what a machine is taken to have that is not asked, in bytes.
func machineMemory() int64 { return 2 << 30 }
