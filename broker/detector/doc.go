// Package detector notices that a broker has died sooner than its session at the coordination service ends, and says so to the service: it evicts the dead
// broker's registration, upon which everything goes on as at the session's end. It decides nothing else, and nothing depends on it: the session still ends.
//
//	session    nothing of the above
//	peer       each broker watches the others: the end of its connection to another and a refused redial, or missed heartbeats
//	guardian   each broker has a process beside it that holds one end of a pipe, and outlives it
//
// An eviction is guarded on the registration's revision as it was known before the evidence, so that a restarted broker is never evicted for its
// predecessor's death. Whoever is evicted wrongly loses its session, steps down and registers again: wrong evidence costs a failover, never safety.
package detector
