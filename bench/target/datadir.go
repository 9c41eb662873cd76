package target

import "slices"

// DataDir is where the broker keeps its data.
func (l *Local) DataDir(id int32) string {
	args := l.brokers[id-1].spec.Args
	return args[slices.Index(args, "--data-dir")+1]
}
