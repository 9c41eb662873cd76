// Package peer is how one broker asks another: Kafka requests to the other's peer listener, many in flight on one connection, told apart by correlation id.
//
// A listener answers the requests of one connection in their order, so a slow one holds up those behind it. A Pool therefore spreads its requests over a few
// connections per address, and what waits on purpose (the long poll of a replica fetcher) has a connection of its own, from Dial.
package peer
