package host_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"gnomon/telemetry/host"
)

func TestCountStart(t *testing.T) {
	dir := t.TempDir()
	boot := func(id string) fstest.MapFS {
		m := fstest.MapFS{}
		set(m, "proc/sys/kernel/random/boot_id", id+"\n")
		return m
	}
	count := func(m fstest.MapFS, want uint64) {
		t.Helper()
		if n, err := host.CountStart(dir, m); err != nil || n != want {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
	count(boot("a"), 0)
	count(boot("a"), 1)
	count(boot("a"), 2)
	count(boot("b"), 0) // the machine started anew
	if err := os.WriteFile(filepath.Join(dir, "starts.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	count(boot("b"), 0)
	count(boot("b"), 1)
	if n, err := host.CountStart(filepath.Join(dir, "gone"), boot("b")); err == nil || n != 0 {
		t.Errorf("counted in no directory: %d", n)
	}
	if n, err := host.CountStart(dir, fstest.MapFS{}); err == nil || n != 0 {
		t.Errorf("counted without a boot: %d", n)
	}
}
