package host

import (
	"path"
	"strconv"
	"strings"
)

// unlimited is above every limit that means something; version 1 writes "none" as a number a little below 2^63.
const unlimited = 1 << 60

// group is where the files of one controller lie.
type group struct {
	root, dir string // dir is below root, and is looked at with everything between them
	two       bool   // of version 2
}

// cgroup reads the limits of control groups of version 2, or of version 1 where the memory controller is there
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1 of the kernel).
func (r *Reader) cgroup(now *counters) *Cgroup {
	text, ok := r.f.text("proc/self/cgroup")
	if !ok {
		return nil
	}
	memory, cpu := groups(text)
	c := &Cgroup{MemoryLimit: r.f.memoryLimit(memory), MemoryUsed: r.f.memoryUsed(memory)}
	c.CPULimit = r.f.cpuLimit(cpu)
	now.periods, now.throttled = r.f.periods(cpu)
	if r.last.cores != nil && now.periods > r.last.periods && now.throttled >= r.last.throttled {
		c.ThrottledShare = rounded(float64(now.throttled-r.last.throttled) / float64(now.periods-r.last.periods))
	}
	if *c == (Cgroup{}) {
		return nil
	}
	return c
}

// groups reads lines of hierarchy:controllers:path.
func groups(text string) (memory, cpu group) {
	const base = "sys/fs/cgroup"
	for line := range strings.Lines(text) {
		p := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(p) != 3 || !strings.HasPrefix(p[2], "/") {
			continue
		}
		dir := path.Clean(p[2]) // rooted, so it does not lead out
		if p[1] == "" {
			g := group{root: base, dir: path.Join(base, dir), two: true}
			if memory.root == "" {
				memory = g
			}
			if cpu.root == "" {
				cpu = g
			}
			continue
		}
		for controller := range strings.SplitSeq(p[1], ",") {
			root := path.Join(base, controller)
			switch controller {
			case "memory":
				memory = group{root: root, dir: path.Join(root, dir)}
			case "cpu":
				cpu = group{root: root, dir: path.Join(root, dir)}
			}
		}
	}
	return memory, cpu
}

// above are the group and those that it lies in. Inside a container the path of the outside may not exist; then the root
// is what there is.
func (g group) above() []string {
	if g.root == "" {
		return nil
	}
	var dirs []string
	for dir := g.dir; len(dir) >= len(g.root) && len(dirs) < maxEntries; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	return dirs
}

func (f files) memoryLimit(g group) *uint64 {
	file := "memory.limit_in_bytes"
	if g.two {
		file = "memory.max"
	}
	var least *uint64
	for _, dir := range g.above() {
		if n, ok := f.count(dir + "/" + file); ok && n < unlimited && (least == nil || n < *least) { // "max" is no number
			least = &n
		}
	}
	return least
}

// memoryUsed is of the innermost group that is visible.
func (f files) memoryUsed(g group) *uint64 {
	file, cache := "memory.usage_in_bytes", "total_inactive_file"
	if g.two {
		file, cache = "memory.current", "inactive_file"
	}
	for _, dir := range g.above() {
		n, ok := f.count(dir + "/" + file)
		if !ok {
			continue
		}
		text, _ := f.text(dir + "/memory.stat")
		if free := unsigned(fields(text)[cache], 1); free != nil {
			n -= min(n, *free)
		}
		return &n
	}
	return nil
}

// cpuLimit is quota over period, in cores.
func (f files) cpuLimit(g group) *float64 {
	var least *float64
	for _, dir := range g.above() {
		var quota, period string
		if g.two {
			text, _ := f.text(dir + "/cpu.max") // "max 100000" or "150000 100000"
			quota, period, _ = strings.Cut(text, " ")
		} else {
			quota, _ = f.text(dir + "/cpu.cfs_quota_us") // -1: none
			period, _ = f.text(dir + "/cpu.cfs_period_us")
		}
		q, err1 := strconv.ParseFloat(quota, 64)
		p, err2 := strconv.ParseFloat(period, 64)
		if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
			continue
		}
		if cores := q / p; least == nil || cores < *least {
			least = &cores
		}
	}
	return least
}

// periods are those of the scheduler in which the group was looked at, and those of them in which it was held back.
func (f files) periods(g group) (all, throttled uint64) {
	for _, dir := range g.above() {
		text, _ := f.text(dir + "/cpu.stat")
		m := fields(text)
		if n := unsigned(m["nr_periods"], 1); n != nil {
			all += *n
		}
		if n := unsigned(m["nr_throttled"], 1); n != nil {
			throttled += *n
		}
	}
	return all, throttled
}

// MemoryLeft is what can still be had, and of how much: the machine's memory, or that of the control group where less is
// left in it. False: not known.
func (s *Snapshot) MemoryLeft() (left, total uint64, known bool) {
	if m := s.Memory; m != nil && m.Available != nil {
		left, total, known = *m.Available, m.Total, true
	}
	c := s.Cgroup
	if c == nil || c.MemoryLimit == nil || c.MemoryUsed == nil {
		return left, total, known
	}
	limit := *c.MemoryLimit
	if inGroup := limit - min(*c.MemoryUsed, limit); !known || inGroup < left {
		return inGroup, limit, true
	}
	return left, total, known
}
