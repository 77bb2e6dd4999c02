package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeModule makes a module named gnomon of the given files; go.mod is made too unless it is among them.
func writeModule(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if _, given := files["go.mod"]; !given {
		write(t, root, "go.mod", "module gnomon\n\ngo 1.26.0\n")
	}
	for name, text := range files {
		write(t, root, name, text)
	}
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	location := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(location), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(location, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// source is a Go file that imports the given paths.
func source(pkg string, imports ...string) string {
	var b strings.Builder
	b.WriteString("package " + pkg + "\n\n")
	for _, i := range imports {
		b.WriteString("import _ \"" + i + "\"\n")
	}
	return b.String()
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		archDocs  = "; see docs/architecture.md"
		tableHint = " is not in the import table: add it to third_party/lint/imports/table.go and to docs/architecture.md, with what it may import and why"
		onlyRims  = "only camera, engine/ort, engine/tensor, main, telemetry/host/nvml may, every other package is pure Go" + archDocs
		toMain    = " ends the process: return an error and let func main decide" + archDocs
	)
	tests := []struct {
		name    string
		files   map[string]string
		foreign map[string]string
		want    []string
	}{
		{
			name: "all rules kept",
			files: map[string]string{
				"main.go":                    source("main", "gnomon/config", "gnomon/camera", "gnomon/devcloud", "os"),
				"config/config.go":           source("config", "gnomon/config/yamldoc"),
				"config/yamldoc/y.go":        source("yamldoc", "fmt"),
				"engine/engine.go":           source("engine", "gnomon/engine/detect"),
				"engine/detect/d.go":         source("detect"),
				"camera/camera.go":           source("camera", "gnomon/engine", "gocv.io/x/gocv"),
				"devcloud/d.go":              source("devcloud", "gnomon/config", "gnomon/engine"),
				"devcloud/sub/d.go":          source("sub", "gnomon/config"),
				"third_party/lint/x/main.go": source("main", "gnomon/models/onnx"),
				"models/onnx/o.go":           source("onnx"),
			},
		},
		{
			name: "an import that is not in the table",
			files: map[string]string{
				"engine/detect/x.go": "package detect\n\nimport (\n\t\"fmt\"\n\n\tc \"gnomon/config\"\n)\n\nvar _, _ = fmt.Sprint, c.X\n",
				"config/config.go":   "package config\n\nvar X int\n",
			},
			want: []string{"engine/detect imports gnomon/config (engine/detect/x.go:6): engine/detect may import nothing of ours (arithmetic that everybody else leans on)" + archDocs},
		},
		{
			name: "an import beside those allowed",
			files: map[string]string{
				"engine/x.go":        source("engine", "gnomon/engine/detect", "gnomon/engine/tensor"),
				"engine/detect/d.go": source("detect"),
				"engine/tensor/t.go": source("tensor"),
			},
			want: []string{"engine imports gnomon/engine/tensor (engine/x.go:4): engine may import only engine/letterbox, engine/detect (the domain)" + archDocs},
		},
		{
			name: "the root is nobody's to import",
			files: map[string]string{
				"main.go":        source("main"),
				"shadow/main.go": source("shadow", "gnomon"),
			},
			want: []string{"shadow imports gnomon (shadow/main.go:3): shadow may import nothing of ours (the Device Shadow protocol, whatever is configured with it)" + archDocs},
		},
		{
			name: "build constraints hide nothing",
			files: map[string]string{
				"telemetry/t.go":         source("telemetry"),
				"telemetry/t_windows.go": "//go:build never\n\n" + source("telemetry", "gnomon/config"),
				"config/config.go":       source("config"),
			},
			want: []string{"telemetry imports gnomon/config (telemetry/t_windows.go:5): telemetry may import only engine/detect, telemetry/spool, cloud/keypair (tells the cloud what was seen; knows boxes, no engine)" + archDocs},
		},
		{
			name: "tests see everything",
			files: map[string]string{
				"shadow/s.go":      source("shadow"),
				"shadow/s_test.go": source("shadow_test", "gnomon/config", "gnomon/camera"),
				"config/config.go": source("config"),
				"camera/c.go":      source("camera", "C"),
			},
		},
		{
			name:  "a package without a rule",
			files: map[string]string{"helpers/h.go": source("helpers", "gnomon/config"), "config/c.go": source("config")},
			want:  []string{"helpers (helpers/h.go)" + tableHint},
		},
		{
			name:  "a rule covers no packages below",
			files: map[string]string{"config/deep/d.go": source("deep")},
			want:  []string{"config/deep (config/deep/d.go)" + tableHint},
		},
		{
			name:  "tests alone need no rule",
			files: map[string]string{"helpers/h_test.go": source("helpers", "gnomon/config"), "config/c.go": source("config")},
		},
		{
			name: "internal packages follow their owner's rule and are open to it",
			files: map[string]string{
				"shadow/s.go":                source("shadow", "gnomon/shadow/internal/wire"),
				"shadow/internal/wire/w.go":  source("wire", "gnomon/shadow/internal/bytes"),
				"shadow/internal/bytes/b.go": source("bytes", "gnomon/config"),
				"config/c.go":                source("config"),
				"internal/x.go":              source("internal", "gnomon/config"),
			},
			want: []string{"shadow/internal/bytes imports gnomon/config (shadow/internal/bytes/b.go:3): shadow may import nothing of ours (the Device Shadow protocol, whatever is configured with it)" + archDocs},
		},
		{
			name: "a package of its own before a wide rule",
			files: map[string]string{
				"third_party/embedded/e.go": source("embedded", "gnomon/models"),
				"third_party/tool/main.go":  source("main", "gnomon/models"),
				"models/m.go":               source("models"),
			},
			want: []string{"third_party/embedded imports gnomon/models (third_party/embedded/e.go:3): third_party/embedded may import only third_party/embedded/branches (the parts inside the binary)" + archDocs},
		},
		{
			name:  "cgo where it may not be",
			files: map[string]string{"cloud/c.go": "package cloud\n\n/*\nint x;\n*/\nimport \"C\"\n"},
			want:  []string{"cloud uses cgo itself (cloud/c.go:6): " + onlyRims},
		},
		{
			name:  "cgo of a known module",
			files: map[string]string{"models/m.go": source("models", "fmt", "gocv.io/x/gocv/contrib"), "bench/b.go": source("bench", "github.com/yalue/onnxruntime_go")},
			want: []string{
				"bench needs cgo through github.com/yalue/onnxruntime_go (bench/b.go:3): " + onlyRims,
				"models needs cgo through gocv.io/x/gocv/contrib (models/m.go:4): " + onlyRims,
			},
		},
		{
			name:    "cgo far away",
			files:   map[string]string{"cloud/c.go": source("cloud", "example.com/a"), "shadow/s.go": source("shadow", "example.com/pure")},
			foreign: map[string]string{"example.com/a": "example.com/b", "example.com/b": "example.com/c", "example.com/c": ""},
			want:    []string{"cloud needs cgo through example.com/a -> example.com/b -> example.com/c (cloud/c.go:3): " + onlyRims},
		},
		{
			name: "cgo behind a package of ours",
			files: map[string]string{
				"devcloud/d.go": source("devcloud", "gnomon/camera"),
				"camera/c.go":   source("camera", "gocv.io/x/gocv"),
				"main.go":       source("main", "gnomon/camera"),
			},
			want: []string{"devcloud needs cgo through camera -> gocv.io/x/gocv (devcloud/d.go:3): " + onlyRims},
		},
		{
			name: "init functions, in tests too",
			files: map[string]string{
				"main.go":          "package main\n\nfunc init() {}\n",
				"config/c.go":      "package config\n\ntype t struct{}\n\nfunc (t) init() {}\n\nfunc init() {}\n",
				"config/c_test.go": "package config\n\nfunc init() {}\n",
			},
			want: []string{
				"main.go:3: init function: make what it makes in New or where it is used" + archDocs,
				"config/c.go:7: init function: make what it makes in New or where it is used" + archDocs,
				"config/c_test.go:3: init function: make what it makes in New or where it is used" + archDocs,
			},
		},
		{
			name: "ends of the process",
			files: map[string]string{
				"main.go": "package main\n\nimport \"os\"\n\nfunc f() { os.Exit(1) }\n",
				"cloud/a.go": "package cloud\n\nimport (\n\tl \"log\"\n\t\"os\"\n\t\"syscall\"\n)\n\nvar exit = os.Exit\n\n" +
					"func main() {\n\tl.Fatalf(\"x\")\n\tsyscall.Exit(1)\n\tlogger.Fatal()\n\tlogger().Fatalw()\n\tother.Exit()\n\tos.Getpid()\n}\n",
				"cloud/helper.go": "package cloud\n\nimport \"testing\"\n\nfunc f(t *testing.T) { t.Fatal() }\n",
				"cloud/a_test.go": "package cloud\n\nimport (\n\t\"log\"\n\t\"os\"\n\t\"testing\"\n)\n\n" +
					"func TestMain(m *testing.M) { os.Exit(m.Run()) }\n\nfunc TestX(t *testing.T) {\n\tt.Fatal()\n\tos.Exit(1)\n\tlog.Fatal()\n}\n",
				"third_party/tool/main.go": "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(1) }\n\nfunc run() { os.Exit(1) }\n",
			},
			want: []string{
				"cloud/a.go:9: os.Exit" + toMain,
				"cloud/a.go:12: l.Fatalf" + toMain,
				"cloud/a.go:13: syscall.Exit" + toMain,
				"cloud/a.go:14: logger.Fatal" + toMain,
				"cloud/a.go:15: (…).Fatalw" + toMain,
				"cloud/a_test.go:13: os.Exit" + toMain,
				"cloud/a_test.go:14: log.Fatal" + toMain,
				"third_party/tool/main.go:7: os.Exit" + toMain,
			},
		},
		{
			name: "what the go tool passes over is passed over",
			files: map[string]string{
				"testdata/other/x.go":          source("x", "gnomon/config"),
				"testdata/x.go":                source("x", "gnomon/config"),
				"config/testdata/x.go":         source("x", "gnomon/config"),
				".hidden/x.go":                 source("x", "gnomon/config"),
				"_old/x.go":                    source("x", "gnomon/config"),
				"config/_x.go":                 "not Go",
				"third_party/other/go.mod":     "module other\n",
				"third_party/other/x.go":       source("x", "gnomon/shadow"),
				"testdata/gen/main.go":         source("main", "gnomon/config"),
				"testdata/gen/parts/p.go":      source("parts", "gnomon/models/onnx"),
				"testdata/gen/testdata/bad.go": "not Go",
			},
			want: []string{"testdata/gen imports gnomon/config (testdata/gen/main.go:3): testdata/gen may import only models, models/onnx, config/yamldoc, engine/detect, engine/letterbox (makes test data)" + archDocs},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree, err := readTree(writeModule(t, tt.files))
			if err != nil {
				t.Fatal(err)
			}
			got := check(tree, newTable(rules()), tt.foreign)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
		})
	}
}

func TestReadTreeFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"broken file":      {map[string]string{"config/c.go": "package config\n\nfunc {"}, "c.go:3:6: expected 'IDENT'"},
		"no module":        {map[string]string{"go.mod": "go 1.26.0\n"}, "has no module line"},
		"module not found": {nil, "run this in the directory of go.mod or name it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if tt.files != nil {
				root = writeModule(t, tt.files)
			}
			if _, err := readTree(root); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want …%s…", err, tt.want)
			}
		})
	}
}

// Every rule is about a package that its neighbours in the table may name, and no directory has two.
func TestRulesAreConsistent(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range rules() {
		if seen[r.dir] {
			t.Errorf("%s has two rules", r.dir)
		}
		seen[r.dir] = true
		if r.what == "" {
			t.Errorf("%s has no reason", r.dir)
		}
	}
	for _, r := range rules() {
		for _, may := range r.may {
			if may != anything && !seen[may] {
				t.Errorf("%s may import %s, which has no rule", r.dir, may)
			}
		}
	}
}
