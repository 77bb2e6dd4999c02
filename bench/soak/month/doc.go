// Package month has no code of its own. Its test runs thirty days of an agent's life in minutes: the pipeline, the
// models' slots, deploying, the spool, the connection, the shadow, the exchange of certificates, logs, metrics and health,
// all as they are in the product, against devcloud's broker and shadow service. Everything is in one bubble of
// testing/synctest, whose clock goes on when everybody waits; so the network is one in memory, and the detector, the
// camera and the downloads are fakes. What is left out is what is not pure: OpenCV, ONNX Runtime, programs of others, and
// the wiring in main.
//
// GNOMON_SOAK_DAYS says how many days, into which the month's events are compressed; without it a quarter of one.
package month
