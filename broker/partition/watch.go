package partition

// audience says which progress of a partition a watcher waits for.
type audience uint8

const (
	consumers audience = 1 << iota // the high watermark
	replicas                       // the log end
	everybody = consumers | replicas
)

// Watcher is woken by the partitions that it watches: a long poll has one for all its partitions. A wake-up may be spurious.
type Watcher struct{ c chan struct{} }

// NewWatcher makes a watcher of nothing.
func NewWatcher() *Watcher {
	return &Watcher{c: make(chan struct{}, 1)} // full: it is awake already
}

// C delivers wake-ups.
func (w *Watcher) C() <-chan struct{} { return w.c }

// Watch wakes w when there is more to read (replica: below the log end, else below the high watermark), and when leadership changes. Look for what is
// there after the call, not before.
func (p *Partition) Watch(w *Watcher, replica bool) {
	a := consumers
	if replica {
		a = replicas
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.watchers[w] = a
}

// Unwatch ends Watch.
func (p *Partition) Unwatch(w *Watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mu.watchers, w)
}

func (p *Partition) wakeLocked(who audience) {
	for w, a := range p.mu.watchers {
		if a&who == 0 {
			continue
		}
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}
