package main

import (
	"errors"
	"strings"
	"testing"
)

// The whole way, with the real go tool and a module of others beside ours. Nothing is fetched: other modules are
// replaced by directories.
func TestRun(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
	files := map[string]string{
		"go.mod": "module gnomon\n\ngo 1.26.0\n\nrequire example.com/other v0.0.0\n\nreplace example.com/other => ./other\n",
		// A module of its own, so none of our packages.
		"other/go.mod":       "module example.com/other\n\ngo 1.26.0\n",
		"other/native/n.go":  "package native\n\nimport \"C\"\n",
		"other/wrap/w.go":    source("wrap", "example.com/other/native"),
		"other/pure/p.go":    source("pure", "net", "os/user"), // cgo of the standard library is no matter
		"camera/c.go":        source("camera", "example.com/other/wrap"),
		"cloud/c.go":         source("cloud", "example.com/other/pure"),
		"testdata/gen/m.go":  source("main", "example.com/other/pure"),
		"testdata/gen/m2.go": "package main\n\nfunc main() {}\n",
	}
	root := writeModule(t, files)
	var out strings.Builder
	kept, err := run(root, &out)
	if err != nil || !kept || out.Len() > 0 {
		t.Fatalf("kept, error = %t, %v, output:\n%s", kept, err, out.String())
	}

	write(t, root, "shadow/s.go", source("shadow", "example.com/other/wrap"))
	write(t, root, "testdata/gen/m.go", source("main", "example.com/other/native"))
	kept, err = run(root, &out)
	if err != nil || kept {
		t.Errorf("kept, error = %t, %v", kept, err)
	}
	const tail = ": only camera, engine/ort, engine/tensor, main, telemetry/host/nvml may, every other package is pure Go; see docs/architecture.md\n"
	want := "shadow needs cgo through example.com/other/wrap -> example.com/other/native (shadow/s.go:3)" + tail +
		"testdata/gen needs cgo through example.com/other/native (testdata/gen/m.go:3)" + tail
	if out.String() != want {
		t.Errorf("output:\n%s\nwant:\n%s", out.String(), want)
	}

	if _, err := run(root, brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("nowhere to print: %v", err)
	}

	write(t, root, "config/c.go", source("config", "example.com/missing"))
	if _, err := run(root, &out); err == nil || !strings.Contains(err.Error(), "go list") || !strings.Contains(err.Error(), "example.com/missing") {
		t.Errorf("go list fails: %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
