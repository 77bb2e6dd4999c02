// Package host reads how the machine is: processor, memory, disk, temperatures, throttling, clock, network, GPU, power.
//
// Everything comes from files that the kernel and the drivers keep, so nothing is installed or started for it. What a
// machine does not tell is left out of a Snapshot, never 0: nil pointers, empty strings, no entry.
package host

import (
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options is what a Reader reads from.
type Options struct {
	// FS is the root of the file system, with proc and sys in it; nil: the machine's own.
	FS fs.FS
	// StateDir is a directory on the file system whose space is told; empty: none is.
	StateDir string
	// GPUs tells of the GPUs that a driver's library knows, beside those in sysfs; nil: none. It must not block.
	GPUs func() []GPU
	// Statfs tells of the file system that holds a directory; nil: the system call.
	Statfs func(dir string) (Disk, error)
	// Adjtime tells of the clock; nil: the system call adjtimex.
	Adjtime func() (Clock, error)
}

// Snapshot is the machine at one moment.
type Snapshot struct {
	Board        string        `json:"board,omitempty"`      // what the machine calls itself
	PowerMode    string        `json:"power_mode,omitempty"` // of a Jetson (nvpmodel), by name where it has one
	UptimeS      *float64      `json:"uptime_s,omitempty"`   // of the machine
	CPU          *CPU          `json:"cpu,omitempty"`
	Memory       *Memory       `json:"memory,omitempty"`
	Cgroup       *Cgroup       `json:"cgroup,omitempty"`
	Process      *Process      `json:"process,omitempty"`
	Disk         *Disk         `json:"disk,omitempty"`
	Clock        *Clock        `json:"clock,omitempty"`
	Throttle     *Throttle     `json:"throttle,omitempty"` // nil: nothing on this machine tells
	Temperatures []Temperature `json:"temperatures,omitempty"`
	Rails        []Rail        `json:"rails,omitempty"`
	Network      []Interface   `json:"network,omitempty"`
	GPUs         []GPU         `json:"gpus,omitempty"`
}

// CPU is how busy the processor was since the Snapshot before. Shares are of 1; the first Snapshot has none.
type CPU struct {
	Busy   *float64   `json:"busy,omitempty"`  // of all cores together
	Cores  []*float64 `json:"cores,omitempty"` // one for each, in the order of their numbers; null: not known
	Count  int        `json:"count"`           // cores that are on
	Load1  *float64   `json:"load1,omitempty"` // runnable tasks, mean over 1, 5 and 15 minutes
	Load5  *float64   `json:"load5,omitempty"`
	Load15 *float64   `json:"load15,omitempty"`
	// FrequencyHz is the highest of all cores at this moment; LimitHz what policy or heat allow at present, and MaxHz what
	// the hardware can do.
	FrequencyHz *float64 `json:"frequency_hz,omitempty"`
	LimitHz     *float64 `json:"limit_hz,omitempty"`
	MaxHz       *float64 `json:"max_hz,omitempty"`
}

// Memory is the machine's, in bytes.
type Memory struct {
	Total     uint64  `json:"total_bytes"`
	Available *uint64 `json:"available_bytes,omitempty"` // for programs, without swapping (MemAvailable)
	SwapTotal *uint64 `json:"swap_total_bytes,omitempty"`
	SwapFree  *uint64 `json:"swap_free_bytes,omitempty"`
}

// Cgroup is what the group of processes that we are in may have, the tightest limit of it and of those above it.
type Cgroup struct {
	MemoryLimit    *uint64  `json:"memory_limit_bytes,omitempty"` // nil: unlimited
	MemoryUsed     *uint64  `json:"memory_used_bytes,omitempty"`  // without files that were read and not used since: those are given back
	CPULimit       *float64 `json:"cpu_limit_cores,omitempty"`    // nil: unlimited
	ThrottledShare *float64 `json:"throttled_share,omitempty"`    // of the scheduler's periods since the Snapshot before
}

// Process is this process.
type Process struct {
	RSS     *uint64  `json:"rss_bytes,omitempty"`
	Threads *uint64  `json:"threads,omitempty"`
	CPU     *float64 `json:"cpu_cores,omitempty"` // cores in use, mean since the Snapshot before
	Files   *uint64  `json:"open_files,omitempty"`
	MaxFile *uint64  `json:"open_files_limit,omitempty"`
}

// Disk is the file system of the state directory, in bytes and files.
type Disk struct {
	Total     uint64 `json:"total_bytes"`
	Available uint64 `json:"available_bytes"` // for users other than root
	Files     uint64 `json:"files,omitempty"` // inodes; 0 where the file system does not count them
	FreeFiles uint64 `json:"free_files,omitempty"`
}

// Clock tells whether the system's clock is kept right.
type Clock struct {
	Synchronised bool     `json:"synchronised"`
	MaxErrorS    *float64 `json:"max_error_s,omitempty"` // the kernel's bound on how wrong it is
}

// Temperature is one sensor, in degrees Celsius.
type Temperature struct {
	Name    string  `json:"name"`
	Celsius float64 `json:"celsius"`
}

// Rail is a supply whose power is measured.
type Rail struct {
	Name  string  `json:"name"`
	Watts float64 `json:"watts"`
}

// Interface is a network interface. Counters run since it came up.
type Interface struct {
	Name      string `json:"name"`
	Received  uint64 `json:"received_bytes"`
	Sent      uint64 `json:"sent_bytes"`
	RxErrors  uint64 `json:"receive_errors"`
	TxErrors  uint64 `json:"send_errors"`
	RxDropped uint64 `json:"receive_dropped"`
	TxDropped uint64 `json:"send_dropped"`
}

// GPU is one graphics processor.
type GPU struct {
	Name        string   `json:"name"`
	Integrated  bool     `json:"integrated,omitempty"` // shares the machine's memory, so it has none of its own to tell
	Load        *float64 `json:"load,omitempty"`       // share of 1
	MemoryUsed  *uint64  `json:"memory_used_bytes,omitempty"`
	MemoryTotal *uint64  `json:"memory_total_bytes,omitempty"`
	Celsius     *float64 `json:"celsius,omitempty"`
	Watts       *float64 `json:"watts,omitempty"`
	ClockHz     *float64 `json:"clock_hz,omitempty"`
	MaxClockHz  *float64 `json:"max_clock_hz,omitempty"`
	Throttled   []string `json:"throttled,omitempty"` // why it is slower than it could be: thermal, power, hardware
}

// Throttle tells why the machine is slower than it could be.
type Throttle struct {
	Now       []string `json:"now"`                  // reasons that hold, sorted; empty: none
	SinceBoot []string `json:"since_boot,omitempty"` // that have held at some time, where the machine remembers
	Events    []Event  `json:"events,omitempty"`     // counters of the hardware
}

// Event is a counter of the hardware.
type Event struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Reader makes Snapshots. It remembers the one before, which shares and rates are told from. Any goroutine may use it.
type Reader struct {
	o Options
	f files

	mu   sync.Mutex
	last counters
}

// counters are what the next Snapshot is compared with.
type counters struct {
	at        time.Time
	cores     map[string]coreTime
	process   *float64 // seconds of processor time
	periods   uint64
	throttled uint64
	events    map[string]uint64
}

// New makes a Reader. It reads nothing yet.
func New(o Options) *Reader {
	if o.FS == nil {
		o.FS = os.DirFS("/")
	}
	if o.Statfs == nil {
		o.Statfs = statfs
	}
	if o.Adjtime == nil {
		o.Adjtime = adjtime
	}
	return &Reader{o: o, f: files{o.FS}}
}

// Read reads everything once. It takes a few milliseconds.
func (r *Reader) Read() *Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := counters{at: time.Now()}
	s := &Snapshot{
		Board: r.f.board(), PowerMode: r.f.powerMode(), UptimeS: r.f.uptime(),
		CPU: r.cpu(&now), Memory: r.f.memory(), Cgroup: r.cgroup(&now), Process: r.process(&now),
		Temperatures: r.f.temperatures(), Rails: r.f.rails(), Network: r.f.network(), GPUs: r.f.gpus(),
		Throttle: r.throttle(&now),
	}
	if r.o.StateDir != "" {
		if d, err := r.o.Statfs(r.o.StateDir); err == nil {
			s.Disk = &d
		}
	}
	if c, err := r.o.Adjtime(); err == nil {
		s.Clock = &c
	}
	if r.o.GPUs != nil {
		s.GPUs = append(s.GPUs, r.o.GPUs()...)
	}
	r.last = now
	return s
}

func statfs(dir string) (Disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Disk{}, err
	}
	block := uint64(st.Frsize)
	return Disk{Total: st.Blocks * block, Available: st.Bavail * block, Files: st.Files, FreeFiles: st.Ffree}, nil
}

// adjtime reads the kernel's view of the clock, which needs no privilege (adjtimex(2)).
func adjtime() (Clock, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Clock{}, err
	}
	worst := float64(t.Maxerror) / 1e6 // microseconds
	return Clock{Synchronised: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, MaxErrorS: &worst}, nil
}
