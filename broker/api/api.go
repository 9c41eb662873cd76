package api

import (
	"context"
	"log/slog"
	"net"
	"slices"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/broker/group"
	"github.com/regency-project/regency/broker/partition"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListenerKind says who connects to a listener.
type ListenerKind uint8

const (
	Client ListenerKind = iota + 1 // Kafka clients
	Peer                           // other brokers
)

func (k ListenerKind) String() string {
	switch k {
	case Client:
		return "client"
	case Peer:
		return "peer"
	}
	return "unknown"
}

// Caller is who sent a request.
type Caller struct {
	ClientID string // empty when the request has none
	Addr     net.Addr
	Listener ListenerKind
}

// Host is the caller's address without the port, as Kafka's group descriptions show it.
func (c Caller) Host() string {
	if c.Addr == nil {
		return "/"
	}
	host, _, err := net.SplitHostPort(c.Addr.String())
	if err != nil {
		return "/" + c.Addr.String()
	}
	return "/" + host
}

// Await waits for the response. A nil response means that nothing is sent (acks=0). An error closes the connection.
type Await func(ctx context.Context) (kmsg.Response, error)

// Handler takes up one request. It runs in request order on its connection and must not block: see Await. An error closes the connection. The request and
// the bytes that it refers to belong to the handler; nothing reuses them.
type Handler func(ctx context.Context, c Caller, req kmsg.Request) (Await, error)

// Done is the Await of a response that is ready.
func Done(resp kmsg.Response) Await {
	return func(context.Context) (kmsg.Response, error) { return resp, nil }
}

// Key is a request kind that is served, with the range of versions.
type Key struct {
	Num, Min, Max int16
	// ServeMin is the lowest version that is answered when it is above Min: some clients disable features unless a lower minimum is announced than they use
	// (KAFKA-18659).
	ServeMin int16
	Handle   Handler
	// PeerOnly keys exist on the peer listener only, where they take precedence over one of the same number for all.
	PeerOnly bool
}

// Served picks from a table what a listener serves.
func Served(keys []Key, l ListenerKind) map[int16]Key {
	served := make(map[int16]Key, len(keys))
	for _, k := range keys {
		_, taken := served[k.Num]
		if k.PeerOnly && l == Peer || !k.PeerOnly && !taken {
			served[k.Num] = k
		}
	}
	return served
}

// Controller takes the cluster's decisions on topics; it routes to whichever broker is the controller and waits for one until ctx ends.
type Controller interface {
	CreateTopics(context.Context, *kmsg.CreateTopicsRequest) (*kmsg.CreateTopicsResponse, error)
	DeleteTopics(context.Context, *kmsg.DeleteTopicsRequest) (*kmsg.DeleteTopicsResponse, error)
	CreatePartitions(context.Context, *kmsg.CreatePartitionsRequest) (*kmsg.CreatePartitionsResponse, error)
	// AllocateProducerIDs hands out a block of producer ids that nobody else gets.
	AllocateProducerIDs(context.Context) (first int64, n int32, err error)
}

// Decider takes a controller request on this very broker, which must be the controller, and never forwards it: it serves what a peer has forwarded, and what
// only brokers ask.
type Decider interface {
	Serve(context.Context, kmsg.Request) (kmsg.Response, error)
}

// Broker holds what the handlers work with. Its fields are set before Keys is called and do not change.
type Broker struct {
	ID         int32
	Current    *cluster.Current
	Control    Controller
	Decide     Decider
	Groups     *group.Manager
	Partitions *partition.Set
	Config     Config
	Log        *slog.Logger
	// Self is who answers the heartbeats of other brokers.
	Self func() detector.Self

	producerIDs producerIDs
}

// Keys is the table of what is served, ordered by number; where the peer listener serves a key in other versions, its entry comes second. The areas' parts are in keys_client.go, keys_controller.go, keys_data.go and keys_peer.go.
func (b *Broker) Keys() []Key {
	keys := slices.Concat(b.clientKeys(), b.controllerKeys(), b.dataKeys(), b.peerKeys())
	slices.SortStableFunc(keys, func(x, y Key) int { return int(x.Num) - int(y.Num) })
	return keys
}
