package coordtest

// The suite, by group. Each case's comment, at its function, says the promise that it holds.

var basics = []testCase{
	{"EmptyStore", testEmptyStore},
	{"BootstrapRace", testBootstrapRace},
	{"CommitsAreAtomicAndExact", testCommits},
	{"TooLarge", testTooLarge},
	{"PrefixIsolation", testIsolation},
}

var sessions = []testCase{
	{"RegistrationIsVisibleAndComplete", testRegistrationVisible},
	{"RegistrationEndsWithSession", testRegistrationEndsWithSession},
	{"DuplicateIDIsRefused", testDuplicateID},
	{"OwnStaleRegistrationIsReplaced", testReplaceOwn},
	{"Evict", testEvict},
	{"UnhealthySessionLapses", testUnhealthy},
	{"KilledProcessIsDetected", testKilled},
	{"StoppedProcessIsDetected", testStopped},
}

var elections = []testCase{
	{"CampaignNeedsRegistration", testCampaignNeedsRegistration},
	{"OneWinner", testOneWinner},
	{"EpochsAreDense", testEpochs},
	{"UsurpFences", testUsurp},
	{"ZombieLeaderIsFenced", testZombie},
	{"CommitOnTheWireIsFenced", testLateCommit},
	{"LostClaimAnswerLeadsOnce", testLostClaim},
	{"UsurpedLeaderLosesNoUpdate", testUsurpHealthy},
	{"RacingUsurpsHaveOneWinner", testUsurpRace},
	{"ResignedLeaderCommitsNothing", testResigned},
	{"WaiterLosesItsSession", testWaiterLost},
	{"OperatorDeletesTheLeaderKey", testLeaderKeyDeleted},
	{"AllSessionsLostThenSomeoneLeads", testNobodyLeads},
	{"EpochsEndClearly", testEpochLimit},
}

var ambiguities []testCase

var watches = []testCase{
	{"WatchHasNoGaps", testWatch},
	{"RingOverrun", testRingOverrun},
}

var operations = []testCase{
	{"CancellationIsPrompt", testCancellation},
	{"NoGoroutineLeaks", testLeaks},
	{"OutageKeepsEverything", testOutage},
	{"CancellationDuringOutage", testOutageCancellation},
}
