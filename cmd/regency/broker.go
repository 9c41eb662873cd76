package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/regency-project/regency/broker"
	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/storage"
	"github.com/spf13/cobra"
)

// brokerFlags are the broker's settings as text, before they are checked.
type brokerFlags struct {
	config                  broker.Config
	coordination            string
	flush, events, logLevel string
	metrics                 string
	memoryMiB               int64
	replication             int
}

// newBroker runs one broker until it is told to stop.
func newBroker() *cobra.Command {
	var f brokerFlags
	var file string
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run one broker of a cluster",
		Long: `Run one broker of a cluster until SIGTERM or Ctrl-C, upon which it hands its leaderships over and leaves.

Every flag can be given in the environment (--data-dir as REGENCY_DATA_DIR) or in the YAML file of --config (key data-dir) as well;
the command line goes before the environment, and that before the file. In the file, coordination may be a mapping:

  coordination: {backend: etcd, endpoints: [h1:2379, h2:2379], prefix: cluster-a, options: {session: 2s}}`,
		Example: `  regency broker --id 1 --data-dir /var/lib/regency --coordination memory:
  regency broker --id 1 --data-dir /var/lib/regency --listen 0.0.0.0:9092 --advertise b1.example.net:9092 \
    --peer-listen 0.0.0.0:9093 --peer-advertise b1.example.net:9093 --coordination etcd://e1:2379,e2:2379,e3:2379/cluster-a?session=2s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd); err != nil {
				return err
			}
			return f.run(cmd.Context())
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&file, configFlag, "", "YAML file of settings; its keys are the names of these flags")
	fs.Int32Var(&f.config.ID, "id", -1, "unique id of this broker in the cluster, 0 or more")
	fs.StringVar(&f.config.DataDir, "data-dir", "", "directory of all data of this broker; made if it is not there")
	fs.StringVar(&f.config.Listen, "listen", "127.0.0.1:9092", "address for Kafka clients")
	fs.StringVar(&f.config.Advertise, "advertise", "", "host:port told to clients (default: --listen)")
	fs.StringVar(&f.config.PeerListen, "peer-listen", "127.0.0.1:9093", "address for other brokers")
	fs.StringVar(&f.config.PeerAdvertise, "peer-advertise", "", "host:port told to other brokers (default: --peer-listen)")
	fs.StringVar(&f.config.SourceAddress, "source-address", "", "local address of connections to other brokers")
	fs.StringVar(&f.config.Rack, "rack", "", "rack of this broker, told to clients")
	fs.StringVar(&f.coordination, "coordination", "", coordinationHelp)
	fs.StringVar(&f.flush, "flush", "sync", "when a record counts as stored: sync (after fsync) or written (in the page cache, as Kafka)")
	fs.Int64Var(&f.memoryMiB, "memory-budget", 0, "MiB for the log's buffers and caches, 0: sized to the machine")
	fs.DurationVar(&f.config.ReplicaLagMax, "replica-lag-max", 10*time.Second, "a follower that has not caught up for this long leaves the in-sync replicas")
	fs.Int32Var(&f.config.DefaultPartitions, "default-partitions", 1, "partitions of a topic created without a number")
	fs.IntVar(&f.replication, "default-replication-factor", 3, "copies of a topic created without a number; at most the live brokers")
	fs.Int32Var(&f.config.OffsetsPartitions, "offsets-partitions", 8, "partitions of __consumer_offsets; fixed when it is created")
	fs.BoolVar(&f.config.AutoCreateTopics, "auto-create-topics", true, "create a topic when a client first asks for it")
	fs.DurationVar(&f.config.RebalanceDelay, "rebalance-delay", 5*time.Second, "leadership goes back to the preferred replicas when all have been in sync for this long; negative: never")
	detectorFlags(fs, &f.config.Detector)
	fs.StringVar(&f.events, "events", "", "append the timeline of this broker to this file, one JSON object a line")
	fs.StringVar(&f.metrics, "metrics", "", metricsHelp)
	fs.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func (f *brokerFlags) run(ctx context.Context) (err error) {
	log, err := newLogger(os.Stderr, f.logLevel)
	if err != nil {
		return err
	}
	if err := f.resolve(); err != nil {
		return err
	}
	if err := f.config.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.config.DataDir, 0o755); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	var events *event.Log
	if f.events != "" {
		if events, err = event.Open(f.events, f.config.ID); err != nil {
			return fmt.Errorf("--events: %w", err)
		}
		defer func() { err = errors.Join(err, events.Close()) }()
	}
	metrics, err := newMetrics(ctx, f.metrics, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, metrics.close()) }()
	coordinator, err := openCoordination(ctx, f.coordination, hostBroker{id: f.config.ID, dir: f.config.DataDir, metrics: metrics, events: events}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, coordinator.Close()) }()
	return broker.Run(ctx, f.config, coordinator, events, log)
}

// resolve turns text into the broker's configuration, naming each flag that is wrong.
func (f *brokerFlags) resolve() error {
	var errs []error
	if f.config.DataDir == "" {
		errs = append(errs, errors.New("--data-dir is missing"))
	}
	if f.config.ID < 0 {
		errs = append(errs, fmt.Errorf("--id %d: give each broker its own id, 0 or more", f.config.ID))
	}
	switch f.flush {
	case "sync":
		f.config.Flush = storage.FlushSync
	case "written":
		f.config.Flush = storage.FlushWritten
	default:
		errs = append(errs, fmt.Errorf("--flush %q: use sync or written", f.flush))
	}
	if f.config.Detector.Kind == detector.Guardian {
		var err error
		f.config.Guardian, err = f.guardianCommand()
		errs = append(errs, err)
	}
	f.config.Version = version()
	f.config.MemoryBudget = f.memoryMiB << 20
	f.config.DefaultReplicationFactor = int16(f.replication)
	return errors.Join(errs...)
}
