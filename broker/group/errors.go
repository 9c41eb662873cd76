package group

import "errors"

// What a member or its client is told. Package api translates them into Kafka's codes.
var (
	// ErrNotCoordinator: another broker coordinates the group. Find the coordinator again.
	ErrNotCoordinator = errors.New("not the coordinator of the group")
	// ErrLoading: the coordinator has just taken over and is reading the group's past. Try again soon.
	ErrLoading = errors.New("coordinator is loading")
	// ErrUnavailable: the record could not be made durable now. Try again.
	ErrUnavailable = errors.New("coordinator is not available")
	// ErrUnknownMember: the coordinator does not know the member (any more). Join anew.
	ErrUnknownMember = errors.New("unknown member")
	// ErrMemberIDRequired: join again with the member id of the reply.
	ErrMemberIDRequired = errors.New("member id required")
	// ErrFencedInstance: another member took over the instance id. Stop.
	ErrFencedInstance = errors.New("instance id is used by another member")
	// ErrIllegalGeneration: the member speaks of another generation than the group is in. Join anew.
	ErrIllegalGeneration = errors.New("illegal generation")
	// ErrRebalanceInProgress: join again.
	ErrRebalanceInProgress = errors.New("rebalance in progress")
	// ErrInconsistentProtocol: the member shares no protocol with the group.
	ErrInconsistentProtocol = errors.New("inconsistent group protocol")
	// ErrInvalidSessionTimeout: out of the configured range.
	ErrInvalidSessionTimeout = errors.New("invalid session timeout")
	// ErrInvalidGroup: the group id is empty.
	ErrInvalidGroup = errors.New("invalid group id")
	// ErrGroupFull: the group has as many members as it may.
	ErrGroupFull = errors.New("group has reached its maximum size")
	// ErrGroupNotFound: no such group.
	ErrGroupNotFound = errors.New("group not found")
	// ErrNotEmpty: the group still has members.
	ErrNotEmpty = errors.New("group is not empty")
	// ErrSubscribed: the group's members subscribe to the topic whose offsets are to be deleted.
	ErrSubscribed = errors.New("group is subscribed to the topic")
	// ErrMetadataTooLarge: the text that goes with an offset is too long.
	ErrMetadataTooLarge = errors.New("offset metadata too large")
)
