// Package iot is the MQTT side of a look-alike of AWS IoT Core, for development on one machine: a broker that takes
// only clients with a certificate, asks a real policy document what each may do, and has AWS's limits and habits.
//
// What is imitated, and where AWS says so, stands at the constants of limits.go. MQTT 3.1.1 is what gnomon speaks and
// what the tests cover; MQTT 5 clients get the same limits, with the broker library's own reason codes.
package iot
