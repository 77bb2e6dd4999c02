package nvml_test

import (
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"gnomon/telemetry/host"
	"gnomon/telemetry/host/nvml"
)

// compile makes a library that answers as NVIDIA's would for two GPUs, the second of which tells next to nothing.
func compile(t *testing.T, source string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler, which makes the stand-in for NVIDIA's library")
	}
	lib := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", lib, filepath.Join("testdata", source)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return lib
}

func TestGPUs(t *testing.T) {
	r, err := nvml.Open(compile(t, "two.c"))
	if err != nil {
		t.Fatal(err)
	}
	want := []host.GPU{
		{
			Name: "gpu0 Stand-in 4000", Load: new(0.37), MemoryUsed: new(uint64(3 << 30)), MemoryTotal: new(uint64(8 << 30)),
			Celsius: new(61.0), Watts: new(70.5), ClockHz: new(1.5e9), MaxClockHz: new(2e9), Throttled: []string{"thermal", "power"},
		},
		{Name: "gpu1 Stand-in 4000", Celsius: new(40.0)},
	}
	for range 2 {
		if got := r.GPUs(); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.GPUs(); got != nil {
		t.Errorf("after Close: %+v", got)
	}
}

func TestNoDriver(t *testing.T) {
	for name, lib := range map[string]func(*testing.T) string{
		"missing":              func(t *testing.T) string { return filepath.Join(t.TempDir(), "libnvidia-ml.so.1") },
		"another":              func(t *testing.T) string { return compile(t, "another.c") },
		"driver is not loaded": func(t *testing.T) string { return compile(t, "broken.c") },
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := nvml.Open(lib(t)); err == nil || r != nil {
				t.Errorf("opened: %v, %v", r, err)
			}
		})
	}
}
