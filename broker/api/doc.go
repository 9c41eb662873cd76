// Package api answers Kafka requests: one file per request kind, numbered by its Kafka key. It is the only package that knows Kafka's error codes.
//
// A handler runs on the goroutine that reads its connection, in request order, so it takes effect in that order; it must not block. What has to wait (for
// replication, for a rebalance, for the controller) goes into the Await that it returns: the connection's writer runs the Awaits in the same order, so
// responses leave in request order while later requests are already at work.
package api
