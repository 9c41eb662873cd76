package coordbench

import (
	"fmt"
	"slices"
	"strconv"
)

// Names of the operations.
const (
	opRegister = "register"
	opClaim    = "claim"
	opCommit   = "commit"
	opWatch    = "watch"
	opFanout   = "fanout"
	opLoad     = "load"
	opChurn    = "churn"
)

// The targets for the ratio to the raw client.
const (
	target     = 1.3
	loadTarget = 1.5
)

// Operations lists what can be measured.
func Operations() []Operation {
	return []Operation{
		{opRegister, "Register", "Session.Register of a new broker id, on an open session", "the same transaction: the id is absent, make it ephemeral", target},
		{opClaim, "Claim", "Session.Campaign while nobody leads, by a process that watches the chain as brokers do", "the same transaction: chain record unchanged and nobody leads; epoch + 1", target},
		{opCommit, "Commit", "Leadership.Commit of one record of 128 bytes, by a process that watches the chain", "the same transaction: chain record unchanged; write it, a ring slot and the record; by a process that watches the chain record", target},
		{opWatch, "Watch delivery", "from the call of Commit to the Delta at another coordinator's Watch", "from sending the same transaction to the event at another client's watch of the chain record, with its value", target},
		{opFanout, "Fan-out, last watcher", "from the call of Commit to the Delta at the last of the watchers, each with its own connection", "from sending the same transaction to the event at the last of as many raw watches, each with its own connection", target},
		{opLoad, "Load", "Coordinator.Watch from the call to the Snapshot", "the best read of all records that the service has: etcd one range, Consul one consistent list, ZooKeeper the children and pipelined gets", loadTarget},
		{opChurn, "Session churn", "OpenSession, Register and Close", "the same session made, the same registration, the session ended", target},
	}
}

func operation(name string) Operation {
	for _, o := range Operations() {
		if o.Name == name {
			return o
		}
	}
	return Operation{Name: name, Title: name}
}

// Matrix names a choice of cells.
type Matrix string

const (
	Quick    Matrix = "quick"    // every operation once or twice: about two minutes
	Standard Matrix = "standard" // what is published: about ten minutes
	Full     Matrix = "full"     // 10² to 10⁵ records by 1 to 64 clients: an hour
)

const fanoutWatchers = 100

// Cells lists the cells of a matrix, in the order in which reports show them.
func (m Matrix) Cells() ([]Cell, error) {
	quick := []Cell{
		{opRegister, 1000, 1, 0},
		{opClaim, 1000, 1, 0},
		{opCommit, 1000, 1, 0}, {opCommit, 1000, 16, 0},
		{opWatch, 1000, 1, 1},
		{opFanout, 1000, 1, fanoutWatchers},
		{opLoad, 10_000, 1, 0},
		{opChurn, 1000, 1, 0},
	}
	switch m {
	case Quick:
		return quick, nil
	case Standard:
		return inOrder(append(quick, Cell{opCommit, 10_000, 1, 0}, Cell{opCommit, 1000, 64, 0}, Cell{opLoad, 1000, 1, 0}, Cell{opChurn, 1000, 16, 0})), nil
	case Full:
		return full(), nil
	}
	return nil, fmt.Errorf("unknown matrix %q: use quick, standard or full", m)
}

func full() []Cell {
	var cells []Cell
	for _, records := range []int{100, 1000, 10_000, 100_000} {
		for _, clients := range []int{1, 4, 16, 64} {
			cells = append(cells, Cell{opCommit, records, clients, 0})
		}
		for _, op := range []string{opRegister, opClaim} {
			cells = append(cells, Cell{op, records, 1, 0})
		}
		cells = append(cells, Cell{opWatch, records, 1, 1}, Cell{opLoad, records, 1, 0}, Cell{opLoad, records, 4, 0})
	}
	for _, watchers := range []int{10, fanoutWatchers} {
		cells = append(cells, Cell{opFanout, 1000, 1, watchers})
	}
	for _, clients := range []int{1, 4, 16, 64} {
		cells = append(cells, Cell{opChurn, 1000, clients, 0})
	}
	return inOrder(cells)
}

func inOrder(cells []Cell) []Cell {
	rank := map[string]int{}
	for i, o := range Operations() {
		rank[o.Name] = i
	}
	slices.SortStableFunc(cells, func(a, b Cell) int {
		for _, d := range []int{rank[a.Operation] - rank[b.Operation], a.Records - b.Records, a.Clients - b.Clients, a.Watchers - b.Watchers} {
			if d != 0 {
				return d
			}
		}
		return 0
	})
	return cells
}

// Select keeps the cells of the named operations; all when there are no names.
func Select(cells []Cell, operations []string) ([]Cell, error) {
	if len(operations) == 0 {
		return cells, nil
	}
	var known []string
	for _, o := range Operations() {
		known = append(known, o.Name)
	}
	for _, name := range operations {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown operation %q: known are %v", name, known)
		}
	}
	return slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool { return !slices.Contains(operations, c.Operation) }), nil
}

// String describes the cell to people.
func (c Cell) String() string { return operation(c.Operation).Title + ", " + c.Load() }

// Load is the cell's size and load.
func (c Cell) Load() string {
	s := grouped(c.Records) + " records"
	switch {
	case c.Watchers > 1:
		s += ", " + strconv.Itoa(c.Watchers) + " watchers"
	case c.Clients > 1:
		s += ", " + strconv.Itoa(c.Clients) + " clients"
	}
	return s
}

func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
