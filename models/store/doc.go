// Package store keeps model versions on disk, each under the digest of what it came from, and the small state file
// that says which of them runs.
//
// The promise: killed at any step, the next start finds the old or the new committed model, whole. Never none, and
// never a torn one. It rests on four habits. Whatever is written is written under another name, synced and renamed.
// A version is complete and synced before its directory is renamed into place. The state file before the current
// one is kept, and no version that either of the two names is removed without rewriting the older one first. One
// process at a time holds the directory.
//
//	lock                  held with flock; contains the process id of the holder
//	state.json            which version each slot runs, and what the cloud asked for
//	state.json.prev       the state before the last change, used when state.json is damaged
//	state.json.bad-TIME   a damaged state file, set aside for people to look at
//	staging/DIGEST/       downloads in progress; they survive restarts
//	versions/DIGEST/      version.json and the files that it lists
//	trash/                what is being deleted
//
// The store protects against crashes, power cuts and damage, not against somebody who may write to its directory:
// version.json is not signed. Signatures are checked before Install. Linux only; pure Go; imports nothing of gnomon.
package store
