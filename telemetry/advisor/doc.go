// Package advisor has no code of its own. Its tests hold gnomon's MQTT client, as everybody else gets it and with the
// waiting times of the product, against two lists: the device tests that AWS IoT Device Advisor applies, and the network
// faults that the agent must outlive. docs/faults-network.md says which test stands for which line.
package advisor
