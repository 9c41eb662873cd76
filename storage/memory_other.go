//go:build !linux

package storage

// machineMemory is 0: not known on this platform.
func machineMemory() int64 { return 0 }
