package coordtest

// The suite, by group. Each case's comment, at its function, says the promise that it holds.

var basics = []testCase{
	{"EmptyStore", testEmptyStore},
	{"BootstrapRace", testBootstrapRace},
	{"CommitsAreAtomicAndExact", testCommits},
	{"TooLarge", testTooLarge},
	{"LimitsAreExact", testLimits},
	{"PrefixIsolation", testIsolation},
	{"Closed", testClosed},
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
	{"HeldToItsDeadline", testHeldToDeadline},
	{"SuspectBeforeItIsGone", testSuspectBeforeGone},
	{"SuspectAndBack", testSuspectAndBack},
	{"SilentEndpointsAreSurvived", testSilentEndpoints},
	{"DuplicateIDRace", testDuplicateRace},
	{"RestartTakesItsRegistrationOver", testRestart},
	{"ThousandSessionsLostAtOnce", testCrowd},
	{"CloseOverBrokenConnections", testCloseReconnects},
	{"LostRegistrationAnswer", testLostRegistration},
	{"CancelledRegistrationEndsWithItsSession", testCancelledRegistration},
	{"LateRegistrationOfAClosedSession", testLateRegistration},
	{"OrphanedClaimBlocksNobody", testOrphanedClaim},
	{"LateClaimOfAClosedSession", testLateClaim},
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

var ambiguities = []testCase{
	{"CutCommitsApplyExactlyOnce", testCutCommits},
	{"LateOriginalNeverApplies", testLateOriginal},
	{"ServiceLeaderKilledMidTransaction", testLeaderKilled},
}

var watches = []testCase{
	{"WatchHasNoGaps", testWatch},
	{"RingOverrun", testRingOverrun},
	{"WatchesStartUnderCommits", testWatchesStart},
	{"SlowConsumerStallsNobody", testSlowConsumer},
	{"OverrunWhileCutOff", testOverrunWhileCut},
	{"FleetingWhileCutOff", testFleetingWhileCut},
	{"LargeCommitsWhileCutOff", testLargeWhileCut},
	{"ServerSwitch", testServerSwitch},
	{"Laggard", testLaggard},
	{"DeadStreamIsNoticed", testDeadStream},
	{"RegistrationSetsInOrder", testRegistrationSets},
}

var operations = []testCase{
	{"CancellationIsPrompt", testCancellation},
	{"NothingLeaks", testLeaks},
	{"OutageKeepsEverything", testOutage},
	{"CancellationDuringOutage", testOutageCancellation},
	{"ServiceLeaderDiesAgainAndAgain", testServiceLeaderDies},
	{"ServiceFollowerStops", testFollowerStops},
	{"RestartKeepsAllAndARestoredBackupIsNoticed", testServiceRestart},
	{"StoreSetBackIsAnotherLineage", testSetBack},
	{"WallClockHasNoEffect", testWallClock},
	{"HistoryIsLinearizable", testHistory},
	{"AnswersAsTheReference", testLockstep},
}
