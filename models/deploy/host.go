package deploy

import (
	"context"
	"time"

	"gnomon/models/store"
)

// Source brings artefacts onto the disk. Methods are called from one goroutine at a time for each slot; Fetch from one
// at a time altogether.
type Source interface {
	// Resolve pins a reference that names no digest, an OCI tag, and returns it with the digest.
	Resolve(ctx context.Context, uri string) (pinned string, err error)
	// Fetch downloads, checks digest and signature, and unpacks into r.Dir. What it leaves there after an error or
	// the end of ctx may help it to resume; the directory is the same the next time.
	Fetch(ctx context.Context, r FetchRequest) (Fetched, error)
}

// FetchRequest says what to fetch.
type FetchRequest struct {
	URI       string // may hold a secret query; not for logs
	SHA256    string // lower-case hexadecimal: of the file, or of the OCI manifest
	Signature string // as in the desired document; may be empty
	Dir       string // the download's own directory
	// Progress tells how many bytes of how many are there; total 0 means unknown. Any goroutine may call it, often.
	Progress func(done, total int64)
}

// Fetched is what a download came to.
type Fetched struct {
	SHA256   string     // as FetchRequest.SHA256
	URI      string     // pinned and without secrets
	FilesDir string     // in FetchRequest.Dir: where the files of Meta lie
	Meta     store.Meta // name, version, release, files; URI is set by the deployer
}

// Host loads and runs models. Methods are called from one goroutine at a time for each slot. The calls for different
// slots overlap, except that one Probe runs at a time.
type Host interface {
	// Probe tries an installed version where it can do no harm, in a child process. An error rejects it.
	Probe(ctx context.Context, slot string, v *store.Version) error
	// Load loads and warms up a version beside the one that runs; nil is the model that is configured or built in.
	// Nothing changes for the frames yet. The caller owns the result.
	Load(ctx context.Context, slot string, v *store.Version) (Loaded, error)
	// Swap puts m in place of the model that runs, between two frames, waits for the frames in work and closes the
	// old one. It owns m in any case. When ctx ends first, frames in work are interrupted. After an error either
	// may be running; the deployer then loads the committed one and swaps again.
	Swap(ctx context.Context, slot string, m Loaded) error
	// Health tells how the model that runs in the slot has done since its Swap, or since the start. It must not block.
	Health(slot string) Health
	// Recent tells how it has done in the last minutes, which is what another model is measured against: a camera sees
	// other things by night than by day. It must not block.
	Recent(slot string) Health
}

// Loaded is a model ready to run.
type Loaded interface {
	Close() error
}

// Health counts what a model has done since it was put in place. Counters only grow until the next Swap.
type Health struct {
	Begun      uint64 // frames given to the model; equal to Frames when none is in work
	Frames     uint64 // frames that it is done with, with or without an error
	Errors     uint64 // of Frames: those that ended in an error
	NotFinite  uint64 // of Frames: those whose output had NaN or infinities
	Detections uint64 // objects found in all Frames together
	// Median is that of the inference times of the newest frames, 20 at least; 0: unknown.
	Median time.Duration
}

// Coded is what an error of a Source or Host may implement, anywhere in its chain, to be told apart in the report. The
// errors of models/artifact are understood as they are.
type Coded interface {
	error
	Code() string    // one word, as in Codes
	Temporary() bool // the same call may succeed later without anybody changing anything
}
