package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// newUp runs a cluster on this machine for trying things out.
func newUp() *cobra.Command {
	var brokers int
	var port int
	var dir, coordination string
	var detect detector.Config
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster on this machine to play with; Ctrl-C stops it",
		Example: `  regency up
  regency up --brokers 5 --data-dir /tmp/regency
  regency up --coordination etcd://127.0.0.1:2379/demo`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd); err != nil {
				return err
			}
			if brokers < 1 || brokers > 9 {
				return fmt.Errorf("--brokers %d: choose from 1 to 9", brokers)
			}
			u := &local{brokers: brokers, port: port, dir: dir, coordination: coordination, detect: detect, out: cmd.OutOrStdout()}
			if err := detect.Validate(); err != nil {
				return err
			}
			return u.run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&brokers, "brokers", 3, "number of brokers")
	cmd.Flags().IntVar(&port, "port", 9092, "Kafka port of the first broker; the others follow")
	cmd.Flags().StringVar(&dir, "data-dir", "", "where data is kept between runs (default: a temporary directory, removed at the end)")
	cmd.Flags().StringVar(&coordination, "coordination", "", coordinationHelp+"\n(default: embedded in the first brokers)")
	detectorFlags(cmd.Flags(), &detect)
	return cmd
}

// local is a cluster of child processes.
type local struct {
	brokers, port     int
	dir, coordination string
	detect            detector.Config
	out               io.Writer
	ports             []int
}

func (u *local) run(ctx context.Context) (err error) {
	if u.dir == "" {
		u.dir, err = os.MkdirTemp("", "regency-up-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(u.dir)
	}
	u.ports, err = u.fixedPorts()
	if err != nil {
		return err
	}
	if err := u.checkPorts(); err != nil {
		return err
	}
	if u.coordination == "" {
		if u.coordination, err = u.embeddedURL(); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The children outlive the first Ctrl-C, so that they can be stopped in order.
	children, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	var procs []*process.Process
	for id := 1; id <= u.brokers; id++ {
		p, err := process.Start(children, process.Spec{
			Name: fmt.Sprintf("broker %d", id), Path: self, Args: u.args(id), LogPath: filepath.Join(u.dir, fmt.Sprintf("broker-%d.log", id)), Heirs: true,
		})
		if err != nil {
			return err
		}
		procs = append(procs, p)
	}
	defer u.stop(procs)
	fmt.Fprintf(u.out, "starting %d brokers; data and logs in %s\n", u.brokers, u.dir)
	if err := u.awaitReady(ctx, procs); err != nil {
		return err
	}
	fmt.Fprintf(u.out, "\nready: %s\n\ntry:\n  regency topic create hello --partitions 3 --bootstrap %[2]s\n  kcat -b %[2]s -L\n\nCtrl-C stops it.\n",
		u.bootstrap(), u.clientAddr(1))
	return u.watch(ctx, procs)
}

// fixedPorts are the peer ports and the embedded members' two ports each, reserved anew at every start but kept in the data directory, since
// other brokers' members know them.
func (u *local) fixedPorts() ([]int, error) {
	path := filepath.Join(u.dir, "ports")
	if raw, err := os.ReadFile(path); err == nil {
		var ports []int
		for f := range strings.FieldsSeq(string(raw)) {
			p, err := strconv.Atoi(f)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w; remove the file to choose ports anew", path, err)
			}
			ports = append(ports, p)
		}
		if len(ports) == 3*u.brokers {
			return ports, nil
		}
		return nil, fmt.Errorf("%s was made for %d brokers, not %d: use another --data-dir", u.dir, len(ports)/3, u.brokers)
	}
	if err := os.MkdirAll(u.dir, 0o755); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	ports, err := process.FreePorts(3 * u.brokers)
	if err != nil {
		return nil, err
	}
	text := strings.Trim(fmt.Sprint(ports), "[]") + "\n"
	return ports, os.WriteFile(path, []byte(text), 0o644)
}

func (u *local) clientAddr(id int) string { return fmt.Sprintf("127.0.0.1:%d", u.port+id-1) }
func (u *local) peerAddr(id int) string   { return fmt.Sprintf("127.0.0.1:%d", u.ports[3*(id-1)]) }

func (u *local) bootstrap() string {
	var addrs []string
	for id := 1; id <= u.brokers; id++ {
		addrs = append(addrs, u.clientAddr(id))
	}
	return strings.Join(addrs, ",")
}

// checkPorts finds a taken Kafka port before any broker starts.
func (u *local) checkPorts() error {
	for id := 1; id <= u.brokers; id++ {
		l, err := net.Listen("tcp", u.clientAddr(id))
		if err != nil {
			return fmt.Errorf("broker %d: %w; choose another --port", id, err)
		}
		l.Close()
	}
	return nil
}

func (u *local) embeddedURL() (string, error) {
	members := 1
	if u.brokers >= 3 {
		members = 3
	}
	if u.brokers >= 5 {
		members = 5
	}
	var peers []string
	for id := 1; id <= members; id++ {
		peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d:%d", id, u.ports[3*(id-1)+1], u.ports[3*(id-1)+2]))
	}
	p, err := profile.Lookup(profile.Embedded, profile.Matched)
	if err != nil {
		return "", err
	}
	return profile.CoordinationURL(p, peers, "")
}

func (u *local) args(id int) []string {
	return []string{"broker", "--id", strconv.Itoa(id), "--data-dir", filepath.Join(u.dir, fmt.Sprintf("broker-%d", id)),
		"--listen", u.clientAddr(id), "--peer-listen", u.peerAddr(id), "--coordination", u.coordination,
		"--events", filepath.Join(u.dir, fmt.Sprintf("events-%d.jsonl", id)),
		"--detector", string(u.detect.Kind), "--detector-beat", u.detect.Beat.String(), "--detector-missed", strconv.Itoa(u.detect.Missed)}
}

// awaitReady waits until every broker answers and knows all others.
func (u *local) awaitReady(ctx context.Context, procs []*process.Process) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(u.bootstrap(), ",")...))
	if err != nil {
		return err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	deadline := time.Now().Add(60 * time.Second)
	known := 0
	for known < u.brokers {
		if err := u.dead(procs); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d brokers are ready after a minute; see the logs in %s", known, u.brokers, u.dir)
		}
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		if list, err := adm.ListBrokers(try); err == nil {
			known = len(list)
		}
		cancel()
		select {
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

func (u *local) dead(procs []*process.Process) error {
	for _, p := range procs {
		if !p.Running() {
			return fmt.Errorf("%s ended: %v; its last lines:\n%s", p.Spec().Name, p.ExitError(), p.TailLog(5))
		}
	}
	return nil
}

// watch tells of brokers that end (killed by the curious, say) until Ctrl-C.
func (u *local) watch(ctx context.Context, procs []*process.Process) error {
	ended := make(chan *process.Process, len(procs))
	for _, p := range procs {
		go func() {
			<-p.Done()
			ended <- p
		}()
	}
	for left := len(procs); left > 0; left-- {
		select {
		case p := <-ended:
			fmt.Fprintf(u.out, "%s ended (%v); the others go on\n", p.Spec().Name, p.ExitError())
		case <-ctx.Done():
			return nil
		}
	}
	return errors.New("all brokers have ended")
}

func (u *local) stop(procs []*process.Process) {
	fmt.Fprintln(u.out, "\nstopping, last broker first")
	for i := len(procs) - 1; i >= 0; i-- {
		if err := procs[i].Stop(context.Background(), 10*time.Second); err != nil && !errors.Is(err, process.ErrExited) {
			fmt.Fprintf(u.out, "%s: %v\n", procs[i].Spec().Name, err)
		}
	}
}
