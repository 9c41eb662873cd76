package api

import (
	"context"
	"errors"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kerr"
)

// groupCodes are Kafka's codes for the errors of package group.
var groupCodes = []struct {
	err  error
	code *kerr.Error
}{
	{group.ErrNotCoordinator, kerr.NotCoordinator},
	{group.ErrLoading, kerr.CoordinatorLoadInProgress},
	{group.ErrUnavailable, kerr.CoordinatorNotAvailable},
	{group.ErrUnknownMember, kerr.UnknownMemberID},
	{group.ErrMemberIDRequired, kerr.MemberIDRequired},
	{group.ErrFencedInstance, kerr.FencedInstanceID},
	{group.ErrIllegalGeneration, kerr.IllegalGeneration},
	{group.ErrRebalanceInProgress, kerr.RebalanceInProgress},
	{group.ErrInconsistentProtocol, kerr.InconsistentGroupProtocol},
	{group.ErrInvalidSessionTimeout, kerr.InvalidSessionTimeout},
	{group.ErrInvalidGroup, kerr.InvalidGroupID},
	{group.ErrGroupFull, kerr.GroupMaxSizeReached},
	{group.ErrGroupNotFound, kerr.GroupIDNotFound},
	{group.ErrNotEmpty, kerr.NonEmptyGroup},
	{group.ErrSubscribed, kerr.GroupSubscribedToTopic},
	{group.ErrMetadataTooLarge, kerr.OffsetMetadataTooLarge},
	{errUnknownPartition, kerr.UnknownTopicOrPartition},
	{context.DeadlineExceeded, kerr.CoordinatorNotAvailable}, // as Kafka: the client asks again
}

var errUnknownPartition = errors.New("unknown topic or partition")

// groupCode translates an error of package group; nil is 0.
func groupCode(err error) int16 {
	if err == nil {
		return 0
	}
	for _, g := range groupCodes {
		if errors.Is(err, g.err) {
			return g.code.Code
		}
	}
	return kerr.UnknownServerError.Code
}
