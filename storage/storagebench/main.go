package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// config is what the command line says.
type config struct {
	dir       string
	regency   string
	only      *regexp.Regexp
	quick     bool
	rounds    int
	seed      uint64
	sustained int64 // bytes of the sustained run
	out       string
	batch     int // bytes
	profile   string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		exit(child(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err == nil {
		err = c.run(ctx)
	}
	exit(err)
}

func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "storagebench:", err)
	os.Exit(1)
}

func parse(args []string) (*config, error) {
	c := &config{batch: 16 << 10}
	fs := flag.NewFlagSet("storagebench", flag.ContinueOnError)
	var only string
	var gigabytes float64
	fs.StringVar(&c.dir, "dir", os.TempDir(), "where the logs are written, in a directory that is removed at the end; on a disk, with 20 GB free")
	fs.StringVar(&c.regency, "regency", "bin/regency", "the binary whose broker is measured")
	fs.StringVar(&only, "only", "", "measure only the groups that match this pattern: "+strings.Join(groupNames(), " "))
	fs.BoolVar(&c.quick, "quick", false, "one short round: shows that it works, its figures mean little")
	fs.IntVar(&c.rounds, "rounds", 3, "rounds of each group")
	fs.Uint64Var(&c.seed, "seed", 0, "seed of the order; 0 takes one from the clock")
	fs.Float64Var(&gigabytes, "sustained", 8.6, "GB of each sustained append; 0 leaves it out")
	fs.StringVar(&c.out, "out", "", "write the results to this path with .md and .json appended")
	fs.StringVar(&c.profile, "profile", "", "write CPU profiles of the store measurements into this directory")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("argument %q is not known: everything is a flag, see -help", fs.Arg(0)))
	}
	if c.rounds < 1 {
		errs = append(errs, fmt.Errorf("-rounds %d: at least 1 is needed", c.rounds))
	}
	var err error
	if c.only, err = regexp.Compile(only); err != nil {
		errs = append(errs, fmt.Errorf("-only: %w", err))
	}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano())
	}
	c.sustained = int64(gigabytes * 1e9)
	if c.quick {
		c.rounds, c.sustained = 1, min(c.sustained, 500e6)
	}
	if c.profile != "" {
		if c.profile, err = filepath.Abs(c.profile); err == nil {
			err = os.MkdirAll(c.profile, 0o755)
		}
		errs = append(errs, err)
	}
	errs = append(errs, c.checkDisk())
	return c, errors.Join(errs...)
}

// checkDisk refuses what would measure something else than a disk, or fill it.
func (c *config) checkDisk() error {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var st syscall.Statfs_t
	if err := syscall.Statfs(c.dir, &st); err != nil {
		return fmt.Errorf("-dir %s: %w", c.dir, err)
	}
	if st.Type == tmpfs || st.Type == ramfs {
		return fmt.Errorf("-dir %s is in memory: name a directory on a disk", c.dir)
	}
	need := 2*c.sustained + 4e9
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("-dir %s: %.1f GB free, %.1f are needed: name another, or a smaller -sustained", c.dir, float64(free)/1e9, float64(need)/1e9)
	}
	return nil
}

func (c *config) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(c.dir, "regency-storagebench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c.regency, err = filepath.Abs(c.regency); err != nil {
		return err
	}
	began := time.Now()
	res := newResult(c, began)
	rng := rand.New(rand.NewPCG(c.seed, 0))
	fmt.Printf("storagebench: seed %d, %s, in %s\n", c.seed, res.Machine, dir)
	for _, g := range groups(c) {
		if !c.only.MatchString(g.name) || len(g.members) == 0 {
			continue
		}
		rounds := c.rounds
		if g.rounds > 0 {
			rounds = min(rounds, g.rounds)
		}
		for round := range rounds {
			for _, i := range rng.Perm(len(g.members)) {
				s, err := c.measure(ctx, dir, g.members[i])
				if ctx.Err() != nil {
					return errors.New("interrupted: everything it started is stopped and removed")
				}
				if err != nil {
					return fmt.Errorf("measure %s %s: %w", g.name, g.members[i].name, err)
				}
				fmt.Printf("%4.0fs  %-10s %d/%d  %-16s %s\n", time.Since(began).Seconds(), g.name, round+1, rounds, g.members[i].name, s)
				res.add(g.name, g.members[i].name, round, s)
			}
		}
	}
	res.Seconds = time.Since(began).Seconds()
	fmt.Println()
	fmt.Println(res.markdown())
	return res.write(c.out)
}

// measure runs a member in a new directory.
func (c *config) measure(ctx context.Context, dir string, m member) (s sample, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, m.name+"-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	return m.run(ctx, work)
}

// child is the entry of the processes that this command starts of itself.
func child(args []string) error {
	if len(args) != 2 {
		return errors.New("child is for this command's own use")
	}
	work, ok := children[args[0]]
	if !ok {
		return fmt.Errorf("no child %q", args[0])
	}
	return work(json.RawMessage(args[1]))
}

// children do their work by parameters and print what they have to say on standard output.
var children = map[string]func(json.RawMessage) error{
	"append": printed(appendLoad.measure),
	"read":   printed(readLoad.measure),
	"space":  printed(spaceLoad.measure),
	"null":   nullBroker,
	"kfake":  fakeBroker,
	"nats":   natsServer,
}

// printed adapts a measurement to a child: its sample is its output.
func printed[T any](measure func(T) (sample, error)) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var load T
		if err := json.Unmarshal(raw, &load); err != nil {
			return err
		}
		s, err := measure(load)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(s)
	}
}
