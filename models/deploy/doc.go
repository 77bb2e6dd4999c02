// Package deploy takes every slot from the model that it runs to the model that the cloud wants, and back if that one
// is no good: download, verify, probe in isolation, load beside the old one, exchange, watch, and only then commit.
//
//	                     new desired content                     passed: committed
//	active ──▶ downloading ──▶ verifying ──▶ probing ──▶ loading ──▶ probation ──▶ active
//	               │  installed already ▲       │           │            │
//	               │                            │           │            ▼ the old one is loaded and exchanged back
//	               │                            │           │        rolled_back
//	               └────────────────────────────┴───────────┴────────────┤
//	                                                                     ▼
//	                              failed ── pause, then again ──▶ downloading
//	                                └── the third time ──▶ banned
//
// What an error leads to depends on its code, see [Codes]. A temporary one keeps the state and adds error and retry_at:
// it is tried again for ever and never counted. One that only a change of the desired entry can mend is failed at once.
// Everything else is counted, tried again after a pause, and banned the third time.
//
// The rules:
//
//   - The store knows one committed version for each slot, and it changes after probation only. Whatever happens
//     before, a start runs the committed one.
//   - Nothing that could take the process down begins before the disk knows that it began. A candidate found in the
//     phase probing, loading or probation at a start was interrupted by the death of the process; nobody can tell a
//     crash in the model from a power cut, so that is counted as a failure. An orderly stop is not.
//   - Content decides: the same desired entry again does nothing, another one ends the work on the one before.
//   - A slot that the desired document does not mention, or that is null there, keeps its committed model. Work that
//     was on its way to another is given up, and a model in its probation is exchanged back.
//   - The desired document survives in the store, so a device that restarts with no network goes on.
//   - An OCI tag is resolved once for each desired entry. To follow a tag that has moved, change the entry, for example
//     its version.
//   - Slots do not wait for each other, except that one download and one probe happen at a time.
//
// Pure Go. Of gnomon it imports models/store and models/artifact only; what loads and runs models is behind [Host].
package deploy
