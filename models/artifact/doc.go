// Package artifact brings models to a device: it parses the reference that came from outside, usually from the device
// shadow, compares it with the allow-list, downloads what it names, and checks digests and detached signatures.
//
// A reference is s3://bucket/key[?versionId=...], oci://registry/repository@sha256:... (or :tag), https://host/path or
// file:///path. A [Fetcher] turns one into verified files in a directory; it unpacks and runs nothing.
//
// Pure Go; imports nothing of ours; functions may be called concurrently.
package artifact
