package health

import "time"

// Inputs is what others see. What is nil or zero is not known, and not judged.
type Inputs struct {
	SafeMode    bool // it crashed again and again, and runs with what is known to work
	Sources     []Source
	Slots       []Slot
	Connection  *Connection
	Spool       *Spool
	Disk        *Disk
	Memory      *Memory
	Clock       *Clock
	Throttled   []string  // why the machine is slower than it could be, in words
	Certificate time.Time // when the device's certificate ends
	Parameters  *Parameters
}

// Source is one camera or file that is to be watched; those that are disabled are not told of.
type Source struct {
	Name  string
	State SourceState
	Error string    // why it does not run, in a sentence without secrets
	Last  time.Time // when its latest frame was handled; zero: none yet
	// Frames and Failed are counted over the last minutes: those taken through the model, and those of them that it failed
	// on.
	Frames, Failed uint64
	// The picture of a source that runs has been the same, or black, for as long as is too long; zero: it is neither.
	Frozen, Black time.Time
	// Silence is how long it may deliver nothing; up to half a minute: half a minute, below 0: for ever.
	Silence time.Duration
}

// SourceState is what a source is doing.
type SourceState string

// The states of a source.
const (
	Starting SourceState = "starting"
	Running  SourceState = "running"
	Retrying SourceState = "retrying" // it failed and is tried again
	Broken   SourceState = "failed"   // it failed and is not tried again
	Ended    SourceState = "ended"    // a file came to its end
)

// Slot is a place where a model runs.
type Slot struct {
	Name  string
	State SlotState
	Error string // why, in a sentence without secrets
}

// SlotState is what is told of a slot; others than these are as they should be.
type SlotState string

// The states of a slot that are worth telling.
const (
	Refused    SlotState = "failed"      // the model that is wanted cannot be used; the one before runs
	RolledBack SlotState = "rolled_back" // likewise, after it had run
	Banned     SlotState = "banned"      // likewise, and it is not tried again
)

// Connection is the one to the broker.
type Connection struct {
	Connected bool
	Error     string // of the last attempt
}

// Spool is where messages wait.
type Spool struct {
	Bytes, MaxBytes uint64
	Dropped         uint64 // messages given up since the start
	Error           string // why it cannot be written, in a sentence; empty: it can
}

// Disk is the file system of the state directory, in bytes and files.
type Disk struct {
	Available, Total uint64
	FreeFiles, Files uint64 // 0 files: not counted there
}

// Memory is what programs can get, in bytes: of the machine, or of the control group where that is less.
type Memory struct{ Available, Total uint64 }

// Clock is the system's.
type Clock struct{ Synchronised bool }

// Parameters is the parameter store of the fleet.
type Parameters struct {
	Fetched time.Time     // when they were last read in full; zero: never by this process
	Since   time.Time     // when reading them began
	Every   time.Duration // how often they are read
	Error   string        // of the last attempt, in a sentence without secrets
}
