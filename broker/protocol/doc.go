// Package protocol turns a byte stream into Kafka requests and responses into bytes. It knows the envelope; package kmsg knows the messages.
//
//	frame    = size (4, big-endian, of what follows) ‖ header ‖ body
//	request  header v1 = key (2) ‖ version (2) ‖ correlation id (4) ‖ client id (nullable string)
//	request  header v2 = v1 ‖ tagged fields        when the message is flexible at its version (KIP-482)
//	request  header v0 = v1 without the client id  ControlledShutdown v0 only
//	response header v0 = correlation id (4)
//	response header v1 = v0 ‖ tagged fields        when the message is flexible, except ApiVersions, which is always v0:
//	                                               its client does not know the broker's versions yet
package protocol
