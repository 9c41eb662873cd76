package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/coordination/profile"
)

// View is the cluster as one broker's metadata tells.
type View struct {
	Controller int32
	Brokers    []int32
	Partitions []timeline.PartitionRole // of the topics under test, ordered
}

// View asks one broker.
func (l *Local) View(ctx context.Context, id int32) (View, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range l.o.Cluster.Topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(t.Name)
		req.Topics = append(req.Topics, topic)
	}
	raw, err := l.brokers[id-1].admin.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return View{}, fmt.Errorf("ask broker %d for metadata: %w", id, err)
	}
	resp := raw.(*kmsg.MetadataResponse)
	v := View{Controller: resp.ControllerID}
	for _, b := range resp.Brokers {
		v.Brokers = append(v.Brokers, b.NodeID)
	}
	slices.Sort(v.Brokers)
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return View{}, fmt.Errorf("ask broker %d for topic %s: %w", id, *t.Topic, err)
		}
		slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition - b.Partition) })
		for _, p := range t.Partitions {
			role := timeline.PartitionRole{Topic: *t.Topic, Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: slices.Sorted(slices.Values(p.ISR))}
			v.Partitions = append(v.Partitions, role)
		}
	}
	return v, nil
}

// unhealthy says what is wrong with the view, or returns nil: all brokers, a controller, a leader everywhere, full ISRs.
func (l *Local) unhealthy(v View) error {
	if len(v.Brokers) != len(l.brokers) {
		return fmt.Errorf("brokers %v of %d", v.Brokers, len(l.brokers))
	}
	if !slices.Contains(v.Brokers, v.Controller) {
		return fmt.Errorf("controller %d", v.Controller)
	}
	want := 0
	for _, t := range l.o.Cluster.Topics {
		want += int(t.Partitions)
	}
	if len(v.Partitions) != want {
		return fmt.Errorf("%d of %d partitions", len(v.Partitions), want)
	}
	for _, p := range v.Partitions {
		if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
			return fmt.Errorf("%s-%d: leader %d, ISR %v of %v", p.Topic, p.Partition, p.Leader, p.ISR, p.Replicas)
		}
	}
	return nil
}

// same tells whether two brokers see the same cluster.
func same(a, b View) error {
	if a.Controller != b.Controller {
		return fmt.Errorf("controller is %d or %d", a.Controller, b.Controller)
	}
	for i, p := range a.Partitions {
		if q := b.Partitions[i]; p.Leader != q.Leader || p.Epoch != q.Epoch {
			return fmt.Errorf("%s-%d is led by %d (epoch %d) or %d (epoch %d)", p.Topic, p.Partition, p.Leader, p.Epoch, q.Leader, q.Epoch)
		}
	}
	return nil
}

// AwaitHealthy waits until every broker is up and all see the same healthy cluster.
func (l *Local) AwaitHealthy(ctx context.Context) error {
	err := l.await(ctx, "wait for a healthy cluster", func(ctx context.Context) error {
		var first View
		for i, b := range l.brokers {
			v, err := l.View(ctx, b.id)
			if err != nil {
				return err
			}
			if err := l.unhealthy(v); err != nil {
				return fmt.Errorf("broker %d sees %w", b.id, err)
			}
			if i == 0 {
				first = v
			} else if err := same(first, v); err != nil {
				return fmt.Errorf("brokers %d and %d differ: %w", l.brokers[0].id, b.id, err)
			}
		}
		return nil
	})
	for _, b := range l.brokers {
		b.mayEnd = false
	}
	return err
}

// awaitBrokers waits until every broker knows all of them, before there are topics.
func (l *Local) awaitBrokers(ctx context.Context) error {
	return l.await(ctx, "wait for the brokers", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{} // none, not all
		for _, b := range l.brokers {
			raw, err := b.admin.SeedBrokers()[0].Request(ctx, req)
			if err != nil {
				return fmt.Errorf("ask broker %d: %w", b.id, err)
			}
			if got := len(raw.(*kmsg.MetadataResponse).Brokers); got != len(l.brokers) {
				return fmt.Errorf("broker %d knows %d of %d brokers", b.id, got, len(l.brokers))
			}
		}
		return nil
	})
}

func (l *Local) createTopics(ctx context.Context) error {
	for _, t := range l.o.Cluster.Topics {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.Name, t.Partitions, t.Replication
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis, req.Topics = 10000, []kmsg.CreateTopicsRequestTopic{topic}
		err := l.await(ctx, "create topic "+t.Name, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 12*time.Second)
			defer cancel()
			resp, err := req.RequestWith(ctx, l.brokers[0].admin)
			if err != nil {
				return err
			}
			if len(resp.Topics) != 1 {
				return fmt.Errorf("%d topics in the answer", len(resp.Topics))
			}
			err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
			if errors.Is(err, kerr.TopicAlreadyExists) {
				return nil // an earlier try was answered too late
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteTopics removes what control-plane probes left. Topics that do not exist are no error.
func (l *Local) DeleteTopics(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10000
	for _, name := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	req.TopicNames = names
	return l.await(ctx, "delete the topics of control-plane probes", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 12*time.Second)
		defer cancel()
		resp, err := req.RequestWith(ctx, l.brokers[0].admin)
		if err != nil {
			return err
		}
		for _, t := range resp.Topics {
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
				return err
			}
		}
		return nil
	})
}

// AwaitBalanced waits until every partition of the topics under test is led by its preferred replica. The brokers see to that by themselves once all
// replicas have been in sync for rebalanceDelay.
func (l *Local) AwaitBalanced(ctx context.Context) error {
	return l.await(ctx, "wait for preferred leaders", func(ctx context.Context) error {
		v, err := l.View(ctx, l.brokers[0].id)
		if err != nil {
			return err
		}
		for _, p := range v.Partitions {
			if p.Leader != p.Replicas[0] {
				return fmt.Errorf("%s-%d is led by %d, not by the first of %v", p.Topic, p.Partition, p.Leader, p.Replicas)
			}
		}
		return nil
	})
}

// CoordinationLeader returns the name of the coordination service's leader: a member's name, or "broker N" for the embedded service.
func (l *Local) CoordinationLeader(ctx context.Context) (string, error) {
	if l.ensemble != nil {
		i, err := l.ensemble.Leader(ctx)
		if err != nil {
			return "", err
		}
		return profile.MemberName(l.o.Backend, i), nil
	}
	id, err := l.EmbeddedLeader(ctx)
	return fmt.Sprintf("broker %d", id), err
}

// EmbeddedLeader returns the broker that hosts the embedded service's leader; an error for a service with processes of its own.
func (l *Local) EmbeddedLeader(ctx context.Context) (int32, error) {
	if l.ensemble != nil {
		return 0, errors.New("the coordination service has processes of its own")
	}
	last := errors.New("there are no members")
	for i, addr := range l.members {
		leads, err := leadsEtcd(ctx, addr)
		if err != nil {
			last = err
		} else if leads {
			return int32(i + 1), nil
		}
	}
	return 0, fmt.Errorf("no embedded member says that it leads (last: %w)", last)
}

// leadsEtcd reads a member's metrics: the embedded service has no HTTP gateway to its status API.
func leadsEtcd(ctx context.Context, addr string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return false, err
	}
	req.Close = true // one question a trial: no idle connection is kept
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("metrics of the member at %s: %s", addr, resp.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "etcd_server_is_leader "); ok {
			return value == "1", nil
		}
	}
	return false, fmt.Errorf("metrics of the member at %s do not say whether it leads (%w)", addr, errors.Join(lines.Err(), errors.ErrUnsupported))
}
