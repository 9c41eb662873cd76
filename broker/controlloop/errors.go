package controlloop

import (
	"errors"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/coordination"
	"github.com/twmb/franz-go/pkg/kerr"
)

var (
	// ErrNotController: this broker does not lead the cluster (any more). Nothing was done; ask the controller.
	ErrNotController = errors.New("not the controller")
	// ErrBusy: the controller's queue is full. Nothing was done; retry later.
	ErrBusy = errors.New("controller is busy")
	// ErrUnsettled: it is not known (yet) whether the request took effect. Look at the cluster's state before asking again.
	ErrUnsettled = errors.New("outcome of the controller request is not known")
)

// codes maps errors to Kafka's codes, for the requests that brokers forward to each other and for their answers. The first match counts.
var codes = []struct {
	err  error
	code int16
}{
	{ErrUnsettled, kerr.RequestTimedOut.Code}, // before all that say that nothing was done
	{ErrNotController, kerr.NotController.Code},
	// Nothing was done, and a retry may help: Kafka has no code of its own for that, and clients retry this one.
	{coordination.ErrUnavailable, kerr.CoordinatorNotAvailable.Code},
	{ErrBusy, kerr.CoordinatorNotAvailable.Code},
	{coordination.ErrTooLarge, kerr.PolicyViolation.Code},
	{controller.ErrTopicExists, kerr.TopicAlreadyExists.Code},
	{controller.ErrUnknownTopic, kerr.UnknownTopicOrPartition.Code},
	{controller.ErrInvalidTopic, kerr.InvalidTopicException.Code},
	{controller.ErrInvalidPartitions, kerr.InvalidPartitions.Code},
	{controller.ErrInvalidReplicationFactor, kerr.InvalidReplicationFactor.Code},
	{controller.ErrInvalidAssignment, kerr.InvalidReplicaAssignment.Code},
	{controller.ErrInvalidRequest, kerr.InvalidRequest.Code},
	{cluster.ErrInvalidConfig, kerr.InvalidConfig.Code},
	{controller.ErrNotLeader, kerr.NotLeaderForPartition.Code},
	{controller.ErrFencedLeaderEpoch, kerr.FencedLeaderEpoch.Code},
	{controller.ErrInvalidUpdateVersion, kerr.InvalidUpdateVersion.Code},
	{controller.ErrIneligibleReplica, kerr.IneligibleReplica.Code},
	{controller.ErrStaleBrokerEpoch, kerr.StaleBrokerEpoch.Code},
}

func codeOf(err error) int16 {
	if err == nil {
		return 0
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return kerr.UnknownServerError.Code
}

func errorOf(code int16) error {
	if code == 0 {
		return nil
	}
	for _, c := range codes {
		if c.code == code {
			return c.err
		}
	}
	return kerr.ErrorForCode(code)
}
