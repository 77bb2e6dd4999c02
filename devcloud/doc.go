// Package devcloud is a look-alike, on loopback, of the cloud that gnomon talks to: what the demo runs against on a
// machine without an account anywhere, and what tests run against without a network. It is for development only:
// it authenticates nobody and keeps everything in memory.
//
// Broker is its MQTT side.
package devcloud
