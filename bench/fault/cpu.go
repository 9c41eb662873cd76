package fault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/coordination/process"
)

// starve is a fault that leaves the cluster less CPU.
type starve struct {
	burners, nice int
	most          time.Duration
	running       []*process.Process
	asked         int64
	life          context.CancelFunc
}

// Starve runs processes that take all the CPU they get, at a niceness. They die with this process, and by themselves after each has used most of CPU time.
func Starve(burners, nice int, most time.Duration) Fault {
	return &starve{burners: burners, nice: nice, most: most}
}

func (f *starve) SetUp(context.Context) error { return nil }

func (f *starve) Inject(context.Context) error {
	life, end := context.WithCancel(context.Background())
	f.life, f.asked = end, timeline.Now()
	seconds := max(int((f.most+time.Second-1)/time.Second), 1)
	for i := range f.burners {
		p, err := process.Start(life, process.Spec{
			Name: fmt.Sprintf("burner %d", i+1), Path: "nice",
			Args: []string{"-n", strconv.Itoa(f.nice), "sh", "-c", fmt.Sprintf("ulimit -t %d; while :; do :; done", seconds)},
		})
		if err != nil {
			return fmt.Errorf("starve: %w", err)
		}
		f.running = append(f.running, p)
	}
	return nil
}

// Observe returns when every burner has used CPU time. Its effect is when all run.
func (f *starve) Observe(ctx context.Context) (Effect, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for i, p := range f.running {
		if err := await(ctx, func() bool {
			u, err := p.Usage()
			return err == nil && u.CPU > 0 || !p.Running()
		}); err != nil {
			return Effect{}, fmt.Errorf("starve: burner %d was given no CPU: %w", i+1, err)
		}
		if !p.Running() {
			return Effect{}, fmt.Errorf("starve: burner %d ended: %w", i+1, p.ExitError())
		}
	}
	return Effect{Asked: f.asked, Effect: timeline.Now()}, nil
}

func (f *starve) Recover(context.Context) error {
	for i, p := range f.running {
		if !p.Running() {
			return errors.Join(fmt.Errorf("starve: burner %d ended before its time", i+1), f.CleanUp())
		}
	}
	return f.CleanUp()
}

func (f *starve) AwaitRecovered(context.Context) error { return nil } // CleanUp has reaped them

func (f *starve) CleanUp() error {
	var errs []error
	for _, p := range f.running {
		errs = append(errs, p.Kill())
	}
	f.running = nil
	if f.life != nil {
		f.life()
	}
	return errors.Join(errs...)
}
