//go:build !regency_mutation

package storage

import "github.com/cockroachdb/pebble/v2/vfs"

// defaultFS is where a store lies if its Options do not say.
func defaultFS() vfs.FS { return vfs.Default }
