// Package interop has only tests: they drive devcloud with clients that its authors did not write, the AWS CLI and AWS's
// own device SDK for Node. `make test-interop` installs both and runs them.
package interop
