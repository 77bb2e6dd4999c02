// Package devcloud is a look-alike, on loopback, of the cloud that gnomon talks to: what the demo runs against on a
// machine without an account anywhere, and what tests run against without a network. It is for development only.
//
// Cloud is all of the AWS side: certificates, AWS IoT's broker with its policies and limits, Device Shadows, the
// credential provider, S3, ECR and Parameter Store, with its state in one directory. Its parts are the packages below
// this one. Broker is a bare MQTT broker for the demo: it authenticates nobody and keeps everything in memory.
package devcloud
