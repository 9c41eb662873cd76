package coordtest

// The suite, by group. Each case's comment, at its function, says the promise that it holds.

var basics = []testCase{
	{name: "EmptyStore", f: testEmptyStore},
	{name: "BootstrapRace", f: testBootstrapRace},
	{name: "CommitsAreAtomicAndExact", f: testCommits},
	{name: "TooLarge", f: testTooLarge},
	{name: "LimitsAreExact", f: testLimits},
	{name: "PrefixIsolation", f: testIsolation},
	{name: "Closed", f: testClosed},
}

var sessions = []testCase{
	{name: "RegistrationIsVisibleAndComplete", f: testRegistrationVisible},
	{name: "RegistrationEndsWithSession", f: testRegistrationEndsWithSession},
	{name: "DuplicateIDIsRefused", f: testDuplicateID},
	{name: "OwnStaleRegistrationIsReplaced", f: testReplaceOwn},
	{name: "Evict", f: testEvict},
	{name: "UnhealthySessionLapses", f: testUnhealthy, brisk: true},
	{name: "KilledProcessIsDetected", f: testKilled, brisk: true},
	{name: "StoppedProcessIsDetected", f: testStopped, brisk: true},
	{name: "HeldToItsDeadline", f: testHeldToDeadline, brisk: true},
	{name: "SuspectBeforeItIsGone", f: testSuspectBeforeGone, brisk: true},
	{name: "SuspectAndBack", f: testSuspectAndBack, brisk: true},
	{name: "SilentEndpointsAreSurvived", f: testSilentEndpoints, brisk: true},
	{name: "DuplicateIDRace", f: testDuplicateRace},
	{name: "RestartTakesItsRegistrationOver", f: testRestart, brisk: true},
	{name: "ThousandSessionsLostAtOnce", f: testCrowd, brisk: true},
	{name: "CloseOverBrokenConnections", f: testCloseReconnects},
	{name: "LostRegistrationAnswer", f: testLostRegistration},
	{name: "CancelledRegistrationEndsWithItsSession", f: testCancelledRegistration},
	{name: "LateRegistrationOfAClosedSession", f: testLateRegistration},
	{name: "OrphanedClaimBlocksNobody", f: testOrphanedClaim},
	{name: "LateClaimOfAClosedSession", f: testLateClaim},
}

var elections = []testCase{
	{name: "CampaignNeedsRegistration", f: testCampaignNeedsRegistration},
	{name: "OneWinner", f: testOneWinner},
	{name: "EpochsAreDense", f: testEpochs},
	{name: "UsurpFences", f: testUsurp},
	{name: "ZombieLeaderIsFenced", f: testZombie},
	{name: "CommitOnTheWireIsFenced", f: testLateCommit},
	{name: "LostClaimAnswerLeadsOnce", f: testLostClaim},
	{name: "UsurpedLeaderLosesNoUpdate", f: testUsurpHealthy},
	{name: "RacingUsurpsHaveOneWinner", f: testUsurpRace},
	{name: "ResignedLeaderCommitsNothing", f: testResigned},
	{name: "WaiterLosesItsSession", f: testWaiterLost},
	{name: "OperatorDeletesTheLeaderKey", f: testLeaderKeyDeleted},
	{name: "AllSessionsLostThenSomeoneLeads", f: testNobodyLeads, brisk: true},
	{name: "EpochsEndClearly", f: testEpochLimit},
}

var ambiguities = []testCase{
	{name: "CutCommitsApplyExactlyOnce", f: testCutCommits},
	{name: "LateOriginalNeverApplies", f: testLateOriginal},
	{name: "ServiceLeaderKilledMidTransaction", f: testLeaderKilled},
}

var watches = []testCase{
	{name: "WatchHasNoGaps", f: testWatch},
	{name: "RingOverrun", f: testRingOverrun},
	{name: "WatchesStartUnderCommits", f: testWatchesStart},
	{name: "SlowConsumerStallsNobody", f: testSlowConsumer},
	{name: "OverrunWhileCutOff", f: testOverrunWhileCut},
	{name: "FleetingWhileCutOff", f: testFleetingWhileCut},
	{name: "LargeCommitsWhileCutOff", f: testLargeWhileCut},
	{name: "ServerSwitch", f: testServerSwitch},
	{name: "Laggard", f: testLaggard},
	{name: "DeadStreamIsNoticed", f: testDeadStream},
	{name: "RegistrationSetsInOrder", f: testRegistrationSets},
}

var operations = []testCase{
	{name: "CancellationIsPrompt", f: testCancellation},
	{name: "NothingLeaks", f: testLeaks},
	{name: "OutageKeepsEverything", f: testOutage, brisk: true},
	{name: "CancellationDuringOutage", f: testOutageCancellation},
	{name: "ServiceLeaderDiesAgainAndAgain", f: testServiceLeaderDies, brisk: true},
	{name: "ServiceFollowerStops", f: testFollowerStops, brisk: true},
	{name: "RestartKeepsAllAndARestoredBackupIsNoticed", f: testServiceRestart},
	{name: "StoreSetBackIsAnotherLineage", f: testSetBack},
	{name: "WallClockHasNoEffect", f: testWallClock, brisk: true},
	{name: "ServersWallClocksHaveNoEffect", f: testServerClocks},
	{name: "HistoryIsLinearizable", f: testHistory, brisk: true},
	{name: "AnswersAsTheReference", f: testLockstep, brisk: true},
}
