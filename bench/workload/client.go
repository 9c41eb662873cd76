// Package workload runs real Kafka clients against a cluster: open-loop producers, a saturating one, a consumer that follows along, and the reader that
// reads everything back at the end. All of them are franz-go; what differs is their configuration.
package workload

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Configurations of clients.
const (
	Tuned   = "tuned"   // retries and metadata in tens of milliseconds: what a client can see of a failover at best
	Default = "default" // as the library ships
)

// clientOptions are common to all clients: nothing that changes how they meet a failure.
func clientOptions(seeds []string, name string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("regency-bench-" + name),
		kgo.DisableClientMetrics(),
	}
}

// producerOptions returns a producer's options. Both configurations are idempotent with acks=all, write to the partition that the record names, and send
// records as they are.
func producerOptions(seeds []string, config, topic string) ([]kgo.Opt, error) {
	opts := append(clientOptions(seeds, config),
		kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	switch config {
	case Default:
		return opts, nil
	case Tuned:
		return append(opts, tuned()...), nil
	}
	return nil, fmt.Errorf("client configuration %q: choose %s or %s", config, Tuned, Default)
}

// tuned makes a client see a new leader within tens of milliseconds: its defaults wait for seconds between looks at the metadata.
func tuned() []kgo.Opt {
	return []kgo.Opt{
		kgo.MetadataMinAge(25 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.DialTimeout(time.Second),
		kgo.ProduceRequestTimeout(time.Second),
		kgo.RequestTimeoutOverhead(time.Second),
		kgo.ProducerLinger(0),
	}
}

// NewAdmin returns a client for administration of one broker: it knows no other address at first and is used for requests to that one.
func NewAdmin(addr string) (*kgo.Client, error) {
	opts := append(clientOptions([]string{addr}, "admin"),
		kgo.RequestRetries(0),
		kgo.RequestTimeoutOverhead(time.Second),
		kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
			d := net.Dialer{Timeout: time.Second}
			return d.DialContext(ctx, network, host)
		}),
	)
	return kgo.NewClient(opts...)
}
