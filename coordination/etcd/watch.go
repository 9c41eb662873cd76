package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/regency-project/regency/coordination/backend"
)

// The watch is the bare gRPC stream: the client library's watcher hides disconnection and retries silently for ever, while our contract is
// that any doubt about the stream ends it and the caller reads again. Each watch reads first and then follows from the revision of that read.

// Watch implements backend.Store.
func (s *Store) Watch(ctx context.Context, key string, fn func(backend.Entry)) error {
	e, rev, err := s.get(ctx, key)
	if err != nil {
		return err
	}
	fn(e)
	name := s.prefix + key
	return s.follow(ctx, &pb.WatchCreateRequest{Key: []byte(name), StartRevision: rev + 1}, func(events []*mvccpb.Event) {
		for _, ev := range events {
			e = backend.Entry{Key: key}
			if ev.Type == mvccpb.Event_PUT {
				e = s.entry(ev.Kv)
			}
		}
		fn(e)
	})
}

// WatchDir implements backend.Store.
func (s *Store) WatchDir(ctx context.Context, dir string, fn func([]backend.Entry)) error {
	entries, rev, err := s.list(ctx, dir)
	if err != nil {
		return err
	}
	present := make(map[string]backend.Entry, len(entries))
	for _, e := range entries {
		present[e.Key] = e
	}
	fn(entries)
	from := s.prefix + dir + "/"
	req := &pb.WatchCreateRequest{Key: []byte(from), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(from)), StartRevision: rev + 1}
	return s.follow(ctx, req, func(events []*mvccpb.Event) {
		for _, ev := range events {
			e := s.entry(ev.Kv)
			if ev.Type == mvccpb.Event_PUT {
				present[e.Key] = e
			} else {
				delete(present, e.Key)
			}
		}
		fn(slices.SortedFunc(maps.Values(present), func(a, b backend.Entry) int {
			if a.Key < b.Key {
				return -1
			}
			return 1
		}))
	})
}

// silence is how long a stream may say nothing although it is asked all the time. A member that is stopped must not keep its watchers from the news for
// longer than a leader's death costs anyway.
func (s *Store) silence() time.Duration { return max(3*s.cfg.Request, 600*time.Millisecond) }

// follow calls fn with the events of each message, and with none when the member proved that there was nothing new. It returns only errors.
func (s *Store) follow(ctx context.Context, req *pb.WatchCreateRequest, fn func([]*mvccpb.Event)) error {
	verb := "watch " + string(req.Key)
	m, err := s.ms.connected(ctx)
	if err != nil {
		return translateRead(ctx, verb, err)
	}
	// The stream ends with the session of this call, whichever side of it stops first.
	sctx, cancel := context.WithCancelCause(clientv3.WithRequireLeader(ctx))
	defer cancel(nil)
	err = s.stream(sctx, cancel, m, req, fn)
	if ctx.Err() == nil {
		if cause := context.Cause(sctx); cause != nil {
			err = cause
		}
		s.ms.demote(m)
	}
	return translateRead(ctx, verb, fmt.Errorf("%s: %w", m.endpoint, err))
}

var errSilent = errors.New("the stream is silent")

func (s *Store) stream(ctx context.Context, cancel context.CancelCauseFunc, m *member, req *pb.WatchCreateRequest, fn func([]*mvccpb.Event)) error {
	watchdog := time.AfterFunc(s.silence(), func() { cancel(errSilent) })
	defer watchdog.Stop()
	w, err := pb.NewWatchClient(m.client.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return err
	}
	if err := w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: req}}); err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { return ask(ctx, w, s.cfg.Request) })
	err = s.receive(w, watchdog, fn)
	cancel(err)
	return errors.Join(err, g.Wait())
}

// ask requests progress at the interval until the stream ends.
func ask(ctx context.Context, w pb.Watch_WatchClient, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}); err != nil {
			// The receiving side gets the stream's own error.
			return nil
		}
	}
}

func (s *Store) receive(w pb.Watch_WatchClient, watchdog *time.Timer, fn func([]*mvccpb.Event)) error {
	told := time.Now()
	for {
		resp, err := w.Recv()
		if err != nil {
			return err
		}
		// fn may take its time; what it takes is not the stream's silence.
		watchdog.Stop()
		switch {
		case resp.CompactRevision != 0:
			return fmt.Errorf("compacted at revision %d", resp.CompactRevision)
		case resp.Canceled:
			return fmt.Errorf("cancelled by the service: %s", resp.CancelReason)
		case len(resp.Events) > 0 || time.Since(told) >= backend.HeartbeatInterval/4:
			fn(resp.Events)
			told = time.Now()
		}
		watchdog.Reset(s.silence())
	}
}
