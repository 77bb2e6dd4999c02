package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tool finds a program of the system that only root can make use of.
func tool(t *testing.T, name string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, for a file system of its own")
	}
	for _, dir := range []string{"", "/sbin/", "/usr/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	t.Skipf("needs %s", name)
	return ""
}

func sh(t *testing.T, name string, args ...string) error {
	t.Helper()
	out, err := exec.Command(tool(t, name), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// diskSize is that of the file system that a device gets: more than the least spool, less than is soon filled.
const diskSize = 48 << 20

// disk is a file system of its own, in a file.
func disk(t *testing.T) (dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	dir = t.TempDir()
	write(t, image, nil)
	if err := os.Truncate(image, diskSize); err != nil {
		t.Fatal(err)
	}
	if err := sh(t, "mkfs.ext4", "-q", "-m", "0", image); err != nil {
		t.Fatal(err)
	}
	if err := sh(t, "mount", "-o", "loop", image, dir); err != nil {
		t.Skip("needs a file system of its own: ", err)
	}
	t.Cleanup(func() {
		if err := sh(t, "umount", dir); err != nil {
			t.Error(errors.Join(err, sh(t, "umount", "-l", dir)))
		}
	})
	return dir
}

// fill leaves no room on a disk; the returned function makes room again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// The disk fills up, becomes read-only or takes nothing for a while, with the broker away: the agent goes on, says so, keeps
// in memory what it cannot write, and loses nothing.
func TestHostDisk(t *testing.T) {
	t.Parallel()
	const broken, works = "the spool can't be written", "the spool can be written again"
	for name, c := range map[string]struct {
		hit           func(t *testing.T, dir string) (mend func())
		says, recover string
	}{
		"full": {fill, broken, works},
		"read-only": {func(t *testing.T, dir string) func() {
			// What the kernel does when the disk fails: no write succeeds any more, also to files that are open.
			if err := sh(t, "mount", "-o", "remount,abort", dir); err != nil {
				t.Skip("needs a file system that can be told to fail: ", err)
			}
			return nil
		}, broken, ""},
		"hangs": {func(t *testing.T, dir string) func() {
			if err := sh(t, "fsfreeze", "-f", dir); err != nil {
				t.Skip("needs a file system that can be frozen: ", err)
			}
			thawed := false
			thaw := func() {
				if !thawed {
					thawed = true
					if err := sh(t, "fsfreeze", "-u", dir); err != nil {
						t.Error(err)
					}
				}
			}
			t.Cleanup(thaw)
			return thaw
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := disk(t)
			p := newPost(t, dir, "spool: {max_size: 16MB},", paced(t, "testdata/pictures", "default", "default"))
			r := p.run()
			before := p.waits(0, 6)
			mend := c.hit(t, dir)
			if c.says != "" {
				await(t, c.says, r.lines, func(s string) bool { return strings.Contains(s, c.says) })
			}
			p.waits(before, 10)
			if mend == nil { // there is time: the other one is tried ever more seldom
				p.soon("the health says so", func() bool { return p.gauge(`gnomon_health_status{status="degraded"}`) == 1 })
			}
			switch {
			case mend == nil:
				p.mend()
				p.detects(0, 20)
			case c.recover != "":
				mend()
				await(t, c.recover, r.lines, func(s string) bool { return strings.Contains(s, c.recover) })
				p.mend()
				p.detects(0, 20)
			default:
				p.mend()
				p.detects(0, 20) // over a disk that hangs
				mend()
			}
			p.end(r)
			if p.whole(p.boots[0]); mend == nil && !p.told(p.boots[0], `"kind":"health"`, "spool_broken") {
				t.Errorf("the health does not say what is wrong: %v", p.events)
			}
			if name == "hangs" {
				return
			}
			// On a disk that takes nothing a start is one like any other.
			if mend != nil {
				defer fill(t, dir)()
			}
			r = p.run()
			p.detects(1, 3)
			p.end(r)
			p.whole(p.boots[1])
		})
	}
}

// pid is that of an agent.
func (r *running) pid() int { return r.cmd.(*os.Process).Pid }

// Without a free descriptor the agent sees on and keeps what it finds; it says what is missing, and is back by itself when
// there are descriptors again.
func TestHostDescriptors(t *testing.T) {
	t.Parallel()
	p := newPost(t, "", "", "  live: {uri: 'test:', width: 160, height: 120, fps: 5}\n")
	p.mend()
	r := p.run()
	p.detects(0, 4)
	p.cut()
	p.waits(0, 1)
	var was unix.Rlimit
	if err := unix.Prlimit(r.pid(), unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	// The kernel gives the lowest number that is free: with a limit of 3 there is none.
	if err := unix.Prlimit(r.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}, nil); err != nil {
		t.Fatal(err)
	}
	p.mend()
	await(t, "word of it", r.lines, func(s string) bool { return strings.Contains(s, "too many open files") })
	frames := func() (n int) { // it cannot be asked for its metrics, but tells
		await(t, "its line", r.lines, func(s string) bool {
			_, rest, _ := strings.Cut(s, " frames/s, ")
			_, err := fmt.Sscanf(rest, "%d frames", &n)
			return err == nil && strings.HasPrefix(s, "live: running")
		})
		return n
	}
	if before, after := frames(), frames(); after <= before {
		t.Errorf("%d frames, later %d", before, after)
	}
	taken := len(p.order)
	if err := unix.Prlimit(r.pid(), unix.RLIMIT_NOFILE, &was, nil); err != nil {
		t.Fatal(err)
	}
	p.detects(0, taken+20)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.pid()))
	if err != nil || len(files) > 64 {
		t.Errorf("%d files are open, %v", len(files), err)
	}
	out := p.end(r)
	// All that it has looked at has arrived.
	if row := strings.Fields(out[strings.LastIndex(out, " live "):]); row[1] != strconv.Itoa(len(p.order)) {
		t.Errorf("%d of %s frames have arrived", len(p.order), row[1])
	}
}

// hogFor bounds what others on the machine have to bear.
const hogFor = 8 * time.Second

// With next to no processor the agent passes over frames, and neither ends nor falls behind: it publishes on, and a busy
// machine is no reason for its watchdog.
func TestHostProcessor(t *testing.T) {
	p := newPost(t, "", "", "  one: {uri: 'test:', width: 320, height: 240, fps: 25}\n")
	_, builtIn, _ := strings.Cut(string(read(t, p.config)), "engine:")
	write(t, p.config, []byte("device: {thing: thing-1}\nengine:"+builtIn)) // a model that takes its time
	p.mend()
	r := p.run()
	p.detects(0, 3)
	// One core, of which the agent gets a few hundredths: the other cores stay with the other tests.
	var cores unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cores); err != nil {
		t.Fatal(err)
	}
	core := 0
	for !cores.IsSet(core) {
		core++
	}
	cores.Zero()
	cores.Set(core)
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", r.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(unix.SchedSetaffinity(tid, &cores), unix.Setpriority(unix.PRIO_PROCESS, tid, 10))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
	}
	busy, enough := context.WithTimeout(t.Context(), hogFor)
	defer enough()
	for range 2 {
		hog := exec.CommandContext(busy, "sh", "-c", "while :; do :; done")
		if err := hog.Start(); err != nil {
			t.Fatal(err)
		}
		if err := unix.SchedSetaffinity(hog.Process.Pid, &cores); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = hog.Wait() }() // ended: the error says so
	}
	<-busy.Done()
	var frames [4]float64
	for i, name := range []string{`captured_total{source="one"}`, `processed_total{source="one"}`, `dropped_total{source="one",cause="busy"}`, `dropped_total{source="one",cause="stale"}`} {
		p.soon("it tells its "+name, func() bool { frames[i] = p.gauge("gnomon_frames_" + name); return frames[i] >= 0 })
	}
	t.Logf("%v frames came, %v were looked at, %v passed over as busy, %v as stale", frames[0], frames[1], frames[2], frames[3])
	// Those that have come are asked for first, so at most as many are under way as a pipeline holds.
	if frames[2]+frames[3] == 0 || frames[0]-frames[1]-frames[2]-frames[3] > 16 {
		t.Error("it has passed over none, or falls behind")
	}
	p.detects(0, len(p.order)+5)
	if out := p.end(r); strings.Contains(out, "gives no sign of life") || len(p.boots) != 1 {
		t.Errorf("boots %v\n%s", p.boots, out)
	}
}

// memoryGroup makes a control group that may have so much memory.
func memoryGroup(t *testing.T, limit int) (dir string) {
	t.Helper()
	root, file := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	}
	dir = filepath.Join(root, fmt.Sprintf("gnomon-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("needs a control group of its own: ", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) }) // empty once the agent has ended
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o600); err != nil {
		t.Skip("needs a control group with the controller of memory: ", err)
	}
	return dir
}

// An agent that needs more memory than it gets is ended by the kernel, or ends itself when it is refused some. The next start
// knows that it crashed, and sends all that was kept.
func TestHostMemory(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(t *testing.T, pid int){
		"killed": func(t *testing.T, pid int) {
			dir := memoryGroup(t, 8<<20)
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"refused": func(t *testing.T, pid int) {
			fields := strings.Fields(string(read(t, fmt.Sprintf("/proc/%d/statm", pid))))
			pages, err := strconv.ParseUint(fields[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			most := pages*uint64(os.Getpagesize()) + 1<<20
			if err := unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, "", "", paced(t, "testdata/pictures", "default"))
			r := p.run()
			kept := p.waits(0, 5)
			p.waits(kept, 5)
			limit(t, r.pid())
			hungry := string(read(t, p.config))
			for i := range 4 {
				hungry += fmt.Sprintf("  large%d: {uri: 'test:', width: 3840, height: 2160, fps: 5}\n", i)
			}
			before := string(read(t, p.config))
			write(t, p.config, []byte(hungry))
			if err := r.cmd.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			err := r.wait()
			t.Logf("it ended so: %v", err)
			if err == nil {
				t.Fatal("it ended as if nothing had been wrong")
			}
			write(t, p.config, []byte(before))
			p.mend()
			r = p.run()
			p.detects(1, 2)
			p.end(r)
			if n := p.whole(p.boots[0]); n < int(kept) || !p.told(p.boots[1], "agent_started", `"how":"crashed"`) {
				t.Errorf("%d detections have arrived, %v were kept; events %v", n, kept, p.events)
			}
		})
	}
}
