package host

import (
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// userHz is the unit of processor times in /proc: 100 to the second on every platform of ours (proc(5)).
const userHz = 100

const kB = 1024

// coreTime is what one line of /proc/stat says.
type coreTime struct{ busy, all uint64 }

// cpu reads /proc/stat, /proc/loadavg (proc(5)) and cpufreq.
func (r *Reader) cpu(now *counters) *CPU {
	text, ok := r.f.text("proc/stat")
	if !ok {
		return nil
	}
	c := &CPU{}
	now.cores = map[string]coreTime{}
	for line := range strings.Lines(text) {
		p := strings.Fields(line)
		if len(p) < 5 || !strings.HasPrefix(p[0], "cpu") || c.Count >= maxEntries {
			continue
		}
		t, ok := parseCore(p[1:])
		if !ok {
			continue
		}
		now.cores[p[0]] = t
		share := busyShare(r.last.cores, p[0], t)
		if p[0] == "cpu" {
			c.Busy = share
			continue
		}
		c.Count++
		c.Cores = append(c.Cores, share)
	}
	if r.last.cores == nil {
		c.Cores = nil // a list of nulls would tell nothing
	}
	if text, ok := r.f.text("proc/loadavg"); ok {
		if p := strings.Fields(text); len(p) >= 3 {
			c.Load1, c.Load5, c.Load15 = decimal(p[0]), decimal(p[1]), decimal(p[2])
		}
	}
	r.f.frequencies(c)
	return c
}

// parseCore sums up user nice system idle iowait irq softirq steal; guests are in user already.
func parseCore(p []string) (coreTime, bool) {
	const idle, iowait, guest = 3, 4, 8
	var t coreTime
	for i, s := range p[:min(len(p), guest)] {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return t, false
		}
		t.all += n
		if i != idle && i != iowait {
			t.busy += n
		}
	}
	return t, true
}

// busyShare compares with the time before; nil: not known, as iowait may go backwards.
func busyShare(last map[string]coreTime, name string, t coreTime) *float64 {
	before, ok := last[name]
	if !ok || t.all <= before.all || t.busy < before.busy {
		return nil
	}
	return rounded(min(1, float64(t.busy-before.busy)/float64(t.all-before.all)))
}

// rounded is a share to a ten-thousandth, which is more than is known.
func rounded(v float64) *float64 {
	const scale = 1e4
	v = math.Round(v*scale) / scale
	return &v
}

// frequencies reads cpufreq's policies, in kHz (Documentation/admin-guide/pm/cpufreq.rst of the kernel).
func (f files) frequencies(c *CPU) {
	const kHz = 1e3
	for _, dir := range f.glob("sys/devices/system/cpu/cpufreq/policy*") {
		c.FrequencyHz = higher(c.FrequencyHz, f.scaled(dir+"/scaling_cur_freq", kHz))
		c.LimitHz = higher(c.LimitHz, f.scaled(dir+"/scaling_max_freq", kHz))
		c.MaxHz = higher(c.MaxHz, f.scaled(dir+"/cpuinfo_max_freq", kHz))
	}
}

func higher(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// memory reads /proc/meminfo.
func (f files) memory() *Memory {
	text, ok := f.text("proc/meminfo")
	if !ok {
		return nil
	}
	m := fields(text)
	total := unsigned(m["MemTotal"], kB)
	if total == nil {
		return nil
	}
	return &Memory{
		Total: *total, Available: unsigned(m["MemAvailable"], kB),
		SwapTotal: unsigned(m["SwapTotal"], kB), SwapFree: unsigned(m["SwapFree"], kB),
	}
}

func (f files) uptime() *float64 {
	text, ok := f.text("proc/uptime")
	if !ok {
		return nil
	}
	first, _, _ := strings.Cut(text, " ")
	return decimal(first)
}

// process reads /proc/self. The directory that is open for counting is one of the open files.
func (r *Reader) process(now *counters) *Process {
	text, ok := r.f.text("proc/self/status")
	if !ok {
		return nil
	}
	m := fields(text)
	p := &Process{RSS: unsigned(m["VmRSS"], kB), Threads: unsigned(m["Threads"], 1)}
	now.process = r.f.processTime()
	if now.process != nil && r.last.process != nil {
		if took := now.at.Sub(r.last.at).Seconds(); took > 0 {
			p.CPU = rounded(max(0, *now.process-*r.last.process) / took)
		}
	}
	if entries, err := fs.ReadDir(r.f, "proc/self/fd"); err == nil {
		n := uint64(len(entries))
		p.Files = &n
	}
	if text, ok := r.f.text("proc/self/limits"); ok {
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
				p.MaxFile = unsigned(strings.Fields(rest), 1) // the soft limit; "unlimited" is no number
			}
		}
	}
	return p
}

// processTime is utime and stime of /proc/self/stat, in seconds. The name in parentheses may hold spaces.
func (f files) processTime() *float64 {
	text, _ := f.text("proc/self/stat")
	after := strings.LastIndexByte(text, ')')
	if after < 0 {
		return nil
	}
	const utime, stime = 11, 12 // fields 14 and 15 of proc(5), counted behind the name
	p := strings.Fields(text[after+1:])
	if len(p) <= stime {
		return nil
	}
	user, err1 := strconv.ParseUint(p[utime], 10, 64)
	system, err2 := strconv.ParseUint(p[stime], 10, 64)
	if err1 != nil || err2 != nil {
		return nil
	}
	seconds := float64(user+system) / userHz
	return &seconds
}

// network reads /proc/net/dev, without the loopback.
func (f files) network() []Interface {
	text, _ := f.text("proc/net/dev")
	var out []Interface
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		p := strings.Fields(rest)
		const columns = 16
		if !found || len(p) < columns || name == "lo" || len(out) >= maxEntries {
			continue
		}
		var n [columns]uint64
		ok := true
		for i := range n {
			var err error
			n[i], err = strconv.ParseUint(p[i], 10, 64)
			ok = ok && err == nil
		}
		if ok {
			out = append(out, Interface{
				Name: name[:min(len(name), maxName)], Received: n[0], RxErrors: n[2], RxDropped: n[3],
				Sent: n[8], TxErrors: n[10], TxDropped: n[11],
			})
		}
	}
	return out
}

// board is the machine's name: the device tree has it on ARM boards, DMI on PCs.
func (f files) board() string {
	if s := f.label("proc/device-tree/model", ""); s != "" {
		return s
	}
	vendor, product := f.label("sys/class/dmi/id/sys_vendor", ""), f.label("sys/class/dmi/id/product_name", "")
	return strings.TrimSpace(vendor + " " + product)
}
