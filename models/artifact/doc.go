// Package artifact decides which models a device takes: it parses the reference that came from outside, usually from the
// device shadow, compares it with the allow-list, and checks detached signatures against the trusted keys.
//
// A reference is s3://bucket/key[?versionId=...], oci://registry/repository@sha256:... (or :tag), https://host/path or
// file:///path.
//
// Pure Go; imports nothing of ours; functions may be called concurrently.
package artifact
