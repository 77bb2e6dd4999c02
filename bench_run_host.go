package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/engine/ort"
)

// hostWatch tells what the machine is and, at the end, how busy others kept it. What the system does not say is empty.
type hostWatch struct {
	host  bench.Host
	start time.Time
	busy  time.Duration // of all cores since the boot
	own   time.Duration
}

func watchHost(ctx context.Context) *hostWatch {
	w := &hostWatch{start: time.Now(), busy: machineCPU(), own: processCPU()}
	w.host = bench.Host{CPU: cpuName(), Cores: runtime.GOMAXPROCS(0), GPUs: graphics(ctx)}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		w.host.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	const kB, MB = 1024, 1e6
	w.host.Memory = firstNumber(procField("/proc/meminfo", "MemTotal")) * kB / MB
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		w.host.Load = firstNumber(string(data))
	}
	return w
}

// end is the host with what happened since.
func (w *hostWatch) end() bench.Host {
	h := w.host
	took := time.Since(w.start)
	others := machineCPU() - w.busy - (processCPU() - w.own)
	h.Duration = took.Seconds()
	h.Others = max(0, others.Seconds()/took.Seconds())
	return h
}

// machineCPU is the time that all cores together have been busy since the boot, from /proc/stat (proc_stat(5)).
func machineCPU() time.Duration {
	const tick = time.Second / 100 // USER_HZ, which is 100 on every platform of ours
	fields := strings.Fields(procField("/proc/stat", "cpu"))
	var busy int64
	for i, f := range fields {
		if i == 3 || i == 4 || i > 7 { // idle, iowait; guests are in user already
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		busy += n
	}
	return time.Duration(busy) * tick
}

// cpuName is what the processor calls itself; on boards that do not say, the board.
func cpuName() string {
	for _, field := range []string{"model name", "Model", "Hardware"} {
		if name := procField("/proc/cpuinfo", field); name != "" {
			return name
		}
	}
	if data, err := os.ReadFile("/proc/device-tree/model"); err == nil {
		return strings.Trim(string(data), "\x00\n ")
	}
	return runtime.GOARCH
}

// procField is the rest of the first line of a file that begins with name, without colon and spaces.
func procField(path, name string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if ok && strings.TrimLeft(rest, " \t:") != rest {
			return strings.TrimSpace(strings.TrimLeft(rest, " \t:"))
		}
	}
	return ""
}

func firstNumber(s string) float64 {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return 0
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0
	}
	return v
}

// graphicsLimit is for a driver that hangs: without GPUs a benchmark is still one.
const graphicsLimit = 10 * time.Second

// graphics are NVIDIA's GPUs as nvidia-smi lists them, which comes with the driver; none where there is no driver.
func graphics(ctx context.Context) []bench.GPU {
	ctx, cancel := context.WithTimeout(ctx, graphicsLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used,utilization.gpu", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return []bench.GPU{}
	}
	return parseGraphics(out)
}

// parseGraphics reads lines of name, driver, memory in MiB, used, per cent. What a GPU does not know is [N/A] there and
// 0 here.
func parseGraphics(out []byte) []bench.GPU {
	gpus := []bench.GPU{}
	r := csv.NewReader(bytes.NewReader(out))
	r.TrimLeadingSpace = true
	const columns, MiB = 5, 1.048576 // in MB
	r.FieldsPerRecord = columns
	for {
		f, err := r.Read()
		if errors.Is(err, io.EOF) {
			return gpus
		}
		if err != nil {
			return []bench.GPU{}
		}
		gpus = append(gpus, bench.GPU{Name: f[0], Driver: f[1], Memory: MiB * firstNumber(f[2]), Used: MiB * firstNumber(f[3]), Percent: firstNumber(f[4])})
	}
}

// benchVersions are those of everything that is measured.
func benchVersions(rt *ort.Runtime) bench.Versions {
	return bench.Versions{
		Gnomon: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		OpenCV: camera.Version(), ONNXRuntime: rt.Version(), Library: rt.Library(),
	}
}
