package host_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gnomon/telemetry/host"
)

// tree reads one of testdata's machines.
func tree(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	m := fstest.MapFS{}
	var at *fstest.MapFile
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(line, "-- "); ok {
			at = &fstest.MapFile{}
			m[strings.TrimSuffix(path, " --\n")] = at
			continue
		}
		at.Data = append(at.Data, strings.ReplaceAll(line, `\0`, "\x00")...)
	}
	return m
}

func options(m fstest.MapFS) host.Options {
	return host.Options{
		FS: m, StateDir: "/state",
		Statfs:  func(string) (host.Disk, error) { return host.Disk{Total: 100, Available: 7}, nil },
		Adjtime: func() (host.Clock, error) { return host.Clock{Synchronised: true, MaxErrorS: new(0.5)}, nil },
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestJetson(t *testing.T) {
	m := tree(t, "jetson-orin.txt")
	r := host.New(options(m))
	equal(t, r.Read(), &host.Snapshot{
		Board: "NVIDIA Jetson Orin NX Engineering Reference Developer Kit", PowerMode: "15W", UptimeS: new(86400.5),
		CPU: &host.CPU{
			Count: 2, Load1: new(1.25), Load5: new(0.8), Load15: new(0.5),
			FrequencyHz: new(1190.4e6), LimitHz: new(1497.6e6), MaxHz: new(1984e6),
		},
		Memory: &host.Memory{
			Total: 15916820 << 10, Available: new(uint64(9000000 << 10)), SwapTotal: new(uint64(7958400 << 10)), SwapFree: new(uint64(7958400 << 10)),
		},
		Cgroup:       &host.Cgroup{MemoryLimit: new(uint64(4 << 30)), MemoryUsed: new(uint64(500000000))},
		Process:      &host.Process{RSS: new(uint64(512000 << 10)), Threads: new(uint64(24)), Files: new(uint64(2)), MaxFile: new(uint64(1024))},
		Disk:         &host.Disk{Total: 100, Available: 7},
		Clock:        &host.Clock{Synchronised: true, MaxErrorS: new(0.5)},
		Throttle:     &host.Throttle{Now: []string{}, Events: []host.Event{{Name: "over_current_oc1", Count: 7}, {Name: "over_current_oc3"}}},
		Temperatures: []host.Temperature{{Name: "cpu-thermal", Celsius: 51.5}, {Name: "gpu-thermal", Celsius: 49.25}},
		Rails:        []host.Rail{{Name: "VDD_IN", Watts: 7.5}, {Name: "VDD_CPU_GPU_CV", Watts: 2}},
		Network:      []host.Interface{{Name: "eth0", Received: 123456, Sent: 654321, RxErrors: 1, RxDropped: 2, TxErrors: 3, TxDropped: 4}},
		GPUs:         []host.GPU{{Name: "17000000.gpu", Integrated: true, Load: new(0.534), ClockHz: new(408e6), MaxClockHz: new(918e6)}},
	})

	// Later: busier, one core off, held back by the supply and by heat.
	set(m, "proc/stat", "cpu  1060 0 500 8040 100 0 50 0 0 0\ncpu0 530 0 250 4020 50 0 25 0 0 0\n")
	set(m, "sys/class/hwmon/hwmon0/oc1_event_cnt", "9")
	set(m, "sys/class/thermal/cooling_device1/cur_state", "1")
	set(m, "proc/self/stat", "4242 (gno) mon) S 1 4242 4242 0 -1 4194560 100 0 0 0 3100 1000 0 0 20 0 24 0 100 0 0")
	s := r.Read()
	equal(t, s.CPU.Busy, new(0.6))
	equal(t, s.CPU.Cores, []*float64{new(0.6)})
	equal(t, s.Throttle.Now, []string{"cooling cpu-throttle-alert", "over_current"})
	if s.Process.CPU == nil || *s.Process.CPU <= 0 {
		t.Errorf("processor time of the process: %v", s.Process.CPU)
	}
	equal(t, r.Read().Throttle.Now, []string{"cooling cpu-throttle-alert"}) // no further event
}

func set(m fstest.MapFS, path, text string) { m[path] = &fstest.MapFile{Data: []byte(text)} }

func TestRaspberryPi(t *testing.T) {
	m := tree(t, "raspberry-pi.txt")
	s := host.New(options(m)).Read()
	equal(t, s.Board, "Raspberry Pi 4 Model B Rev 1.4")
	equal(t, s.Throttle, &host.Throttle{
		Now: []string{"soft_temperature_limit", "under_voltage"}, SinceBoot: []string{"soft_temperature_limit", "throttled", "under_voltage"},
	})
	equal(t, s.Temperatures, []host.Temperature{{Name: "cpu-thermal", Celsius: 82}}) // once, though hwmon has it as well
	equal(t, s.Memory, &host.Memory{Total: 3884360 << 10})
	if s.GPUs != nil || s.Cgroup != nil || s.Process != nil || s.Network != nil || s.CPU.FrequencyHz != nil {
		t.Errorf("told of what is not there: %+v", s)
	}
}

func TestPC(t *testing.T) {
	m := tree(t, "pc.txt")
	o := options(m)
	o.GPUs = func() []host.GPU { return []host.GPU{{Name: "gpu0"}} }
	r := host.New(o)
	s := r.Read()
	equal(t, s.Board, "Example Corp. Box 9000")
	equal(t, s.Cgroup, &host.Cgroup{MemoryLimit: new(uint64(8 << 30)), MemoryUsed: new(uint64(150000000)), CPULimit: new(1.5)})
	equal(t, s.Throttle, &host.Throttle{Now: []string{}, Events: []host.Event{{Name: "heat_core", Count: 3}, {Name: "heat_package", Count: 5}}})
	equal(t, s.Temperatures, []host.Temperature{{Name: "k10temp Tctl", Celsius: 45.125}})
	equal(t, s.Rails, []host.Rail{{Name: "amdgpu", Watts: 25}})
	equal(t, s.GPUs, []host.GPU{{Name: "gpu0"}})
	equal(t, s.Memory.SwapTotal, new(uint64(0))) // known to be none

	set(m, "sys/class/hwmon/hwmon3/name", "k10temp")
	set(m, "sys/class/hwmon/hwmon3/temp1_input", "40000")
	set(m, "sys/class/hwmon/hwmon3/temp1_label", "Tctl")
	set(m, "sys/fs/cgroup/user.slice/box.scope/cpu.stat", "nr_periods 120\nnr_throttled 15\n")
	set(m, "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "6")
	s = r.Read()
	equal(t, s.Cgroup.ThrottledShare, new(0.25))
	equal(t, s.Throttle.Now, []string{"heat"})
	equal(t, s.Temperatures, []host.Temperature{{Name: "k10temp Tctl", Celsius: 45.125}, {Name: "k10temp Tctl 2", Celsius: 40}})
}

func TestMemoryLeft(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	machine := &host.Memory{Total: 100, Available: n(40)}
	for name, c := range map[string]struct {
		s           host.Snapshot
		left, total uint64
		known       bool
	}{
		"nothing known":         {host.Snapshot{}, 0, 0, false},
		"old kernel":            {host.Snapshot{Memory: &host.Memory{Total: 100}}, 0, 0, false},
		"machine":               {host.Snapshot{Memory: machine}, 40, 100, true},
		"group without a limit": {host.Snapshot{Memory: machine, Cgroup: &host.Cgroup{MemoryUsed: n(90)}}, 40, 100, true},
		"group":                 {host.Snapshot{Memory: machine, Cgroup: &host.Cgroup{MemoryUsed: n(45), MemoryLimit: n(50)}}, 5, 50, true},
		"group with room":       {host.Snapshot{Memory: machine, Cgroup: &host.Cgroup{MemoryUsed: n(5), MemoryLimit: n(50)}}, 40, 100, true},
		"above the limit":       {host.Snapshot{Cgroup: &host.Cgroup{MemoryUsed: n(60), MemoryLimit: n(50)}}, 0, 50, true},
	} {
		if left, total, known := c.s.MemoryLeft(); left != c.left || total != c.total || known != c.known {
			t.Errorf("%s: %d of %d, %v", name, left, total, known)
		}
	}
}

// TestAbsent: a machine that tells nothing gives nothing, and not zeros.
func TestAbsent(t *testing.T) {
	nothing := errors.New("not here")
	r := host.New(host.Options{
		FS: fstest.MapFS{}, StateDir: "/state",
		Statfs:  func(string) (host.Disk, error) { return host.Disk{}, nothing },
		Adjtime: func() (host.Clock, error) { return host.Clock{}, nothing },
	})
	equal(t, r.Read(), &host.Snapshot{})
}

// TestDamaged: files with anything in them make no sensor and no panic.
func TestDamaged(t *testing.T) {
	for _, junk := range []string{"", "-", "\x00\xff", "99999999999999999999999", "cpu cpu cpu", "1 2 3 4 5 6 7 8 9", "::/../../..", ": : :", ")"} {
		for _, name := range []string{"jetson-orin.txt", "raspberry-pi.txt", "pc.txt"} {
			m := tree(t, name)
			whole := maps.Clone(m)
			for path := range whole {
				set(m, path, junk)
				host.New(options(m)).Read()
				m[path] = whole[path]
			}
			for path := range m {
				set(m, path, junk)
			}
			s := host.New(options(m)).Read()
			if s.Memory != nil || s.Temperatures != nil && junk[0] != '9' || s.Rails != nil {
				t.Errorf("%s full of %q: %+v", name, junk, s)
			}
		}
	}
}

// TestThisMachine reads the real files; what they say is nobody's business.
func TestThisMachine(t *testing.T) {
	r := host.New(host.Options{StateDir: t.TempDir()})
	r.Read()
	s := r.Read()
	if s.Memory == nil || s.Memory.Total == 0 || s.CPU == nil || s.CPU.Count == 0 || s.Process == nil || s.Process.Files == nil || s.Disk == nil || s.Disk.Total == 0 {
		t.Errorf("%+v", s)
	}
}
