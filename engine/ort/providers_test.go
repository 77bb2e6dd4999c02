package ort

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	ortgo "github.com/yalue/onnxruntime_go"

	"gnomon/models/onnx"
	"gnomon/third_party/embedded"
)

// compile makes a program or library of C source with the headers that the binding brings.
func compile(t *testing.T, out, source string, flags ...string) {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skip("needs a C compiler: ", err)
	}
	args := append([]string{"-I" + headers(t), "-x", "c", source, "-o", out}, flags...)
	if said, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}

func headers(t *testing.T) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skip("needs the go tool, to find the header of ONNX Runtime: ", err)
	}
	return strings.TrimSpace(string(dir))
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// library is the embedded one as a file.
func library(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	err := embedded.Runtime(&text)
	if errors.Is(err, embedded.ErrMissing) && os.Getenv("GNOMON_REQUIRE_PARTS") == "" {
		t.Skip("needs the embedded parts: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// The places of the functions in ONNX Runtime's table are those of the header, and the version is the binding's.
func TestAPITable(t *testing.T) {
	source, err := os.ReadFile("api.h")
	if err != nil {
		t.Fatal(err)
	}
	enum := regexp.MustCompile(`(?s)enum \{.*?\};`).Find(source)
	program := "#include <stddef.h>\n#include \"onnxruntime_c_api.h\"\n" + string(enum) + "\n"
	functions := map[string]string{
		"error_message": "GetErrorMessage", "create_env": "CreateEnv", "release_env": "ReleaseEnv", "release_status": "ReleaseStatus",
		"ep_devices": "GetEpDevices", "append_v2": "SessionOptionsAppendExecutionProvider_V2", "ep_name": "EpDevice_EpName",
		"assignment": "Session_GetEpGraphAssignmentInfo", "subgraph_ep": "EpAssignedSubgraph_GetEpName", "subgraph_nodes": "EpAssignedSubgraph_GetNodes",
		"make_tensor": "CreateTensorAsOrtValue", "wrap_tensor": "CreateTensorWithDataAsOrtValue", "tensor_data": "GetTensorMutableData", "make_info": "CreateMemoryInfo", "release_info": "ReleaseMemoryInfo",
		"release_value": "ReleaseValue", "make_allocator": "CreateAllocator", "release_allocator": "ReleaseAllocator", "run_binding": "RunWithBinding",
		"make_binding": "CreateIoBinding", "release_binding": "ReleaseIoBinding", "bind_input": "BindInput",
		"output_info": "SessionGetOutputTypeInfo", "tensor_info": "CastTypeInfoToTensorInfo", "dimensions": "GetDimensionsCount",
		"get_dimensions": "GetDimensions", "release_type": "ReleaseTypeInfo", "bind_output": "BindOutput",
	}
	for place, function := range functions {
		program += "_Static_assert(offsetof(OrtApi, " + function + ") == api_" + place + " * sizeof(void *), \"" + function + "\");\n"
	}
	if n := strings.Count(string(enum), "="); n != len(functions) {
		t.Errorf("the table has %d functions, and %d are checked", n, len(functions))
	}
	program += "_Static_assert(ORT_API_VERSION == 24, \"apiVersion in api.go\");\n"
	dir := t.TempDir()
	compile(t, filepath.Join(dir, "table.o"), write(t, filepath.Join(dir, "table.c"), program), "-c")
}

// What is wrong with each provider is said, and the next takes its place; strict, or without one that works, it is an
// error.
func TestProviderFallback(t *testing.T) {
	const shared, cuda = "libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"
	dir := t.TempDir()
	nothing := filepath.Join(dir, "nothing.so")
	compile(t, nothing, write(t, filepath.Join(dir, "nothing.c"), "int nothing;"), "-shared", "-fPIC")
	host := filepath.Join(dir, "host.so")
	compile(t, host, write(t, filepath.Join(dir, "host.c"), "static void *host; void Provider_SetHost(void *h) { host = h; } void *Provider_GetHost(void) { return host; }"), "-shared", "-fPIC")
	read := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	type files map[string]string
	whole := library(t)
	for _, row := range []struct {
		name   string
		beside files
		want   string // said about CUDA
	}{
		{"missing", nil, "is missing: copy all libonnxruntime_providers_*.so"},
		{"wrong", files{shared: "not a library"}, shared + " is not a library, or damaged"},
		{"broken", files{shared: read(host)[:200]}, shared + " is not a library, or damaged"},
		{"no entry points", files{shared: read(nothing)}, "it has no function Provider_SetHost"},
		{"provider missing", files{shared: read(host)}, "is missing: copy all libonnxruntime_providers_*.so"},
		{"provider wrong", files{shared: read(host), cuda: "\x7fELF not a library"}, cuda + " is not a library, or damaged"},
		{"provider broken", files{shared: read(host), cuda: read(nothing)[:3000]}, cuda + " is not a library, or damaged"},
		{"provider without entry points", files{shared: read(host), cuda: read(nothing)}, "it has no function GetProvider"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir() // a file of its own for each: the loader knows files that it has seen
			path := write(t, filepath.Join(dir, "libonnxruntime.so"), whole)
			for name, text := range row.beside {
				write(t, filepath.Join(dir, name), text)
			}
			rt, err := NewRuntime(RuntimeOptions{Library: path})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rt.Close() }()
			falls(t, rt, row.want)
		})
	}
	t.Run("embedded", func(t *testing.T) { falls(t, newRuntime(t), "set engine.library to a GPU build of ONNX Runtime") })
}

func falls(t *testing.T, rt *Runtime, want string) {
	t.Helper()
	o := SessionOptions{Name: "m", ONNX: double(t, 1, 3, 4, 6), Width: 6, Height: 4}
	o.Providers = Providers{Order: []string{TensorRT, CUDA, CPU}, FP16: true, Graph: true, Engines: t.TempDir(), SHA256: strings.Repeat("ab", 32)}
	sessions, err := rt.Open(o, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, sessions)
	p := sessions[1].Placement()
	if !slices.Equal(p.Providers, []string{CPU}) || p.String() != "cpu: 1 node" || p.OnCPU() != 0 || len(p.Notes) != 0 {
		t.Errorf("placement %q, %+v", p, p)
	}
	if len(p.Fallen) != 2 || p.Fallen[0].Name != TensorRT || p.Fallen[1].Name != CUDA {
		t.Fatalf("fallen: %v", p.Fallen)
	}
	if msg := p.Fallen[1].Error(); !strings.Contains(msg, want) || strings.Contains(msg, "\n") {
		t.Errorf("got  %s\nwant …%s…", msg, want)
	}
	if _, err := sessions[0].Run(t.Context()); err != nil {
		t.Error(err)
	}
	for _, row := range []struct {
		p    Providers
		want string
	}{
		{Providers{Order: []string{CUDA, CPU}, Strict: true}, "model m: execution provider cuda cannot be used: "},
		{Providers{Order: []string{TensorRT, CUDA}}, "model m: no execution provider is left: tensorrt: "},
		{Providers{Order: []string{"npu"}, Strict: true}, "model m: execution provider npu cannot be used: nothing offers it; gnomon knows cpu, cuda and tensorrt"},
	} {
		o.Providers = row.p
		_, err := rt.Open(o, 1)
		var failed *ProviderError
		if !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got  %v\nwant %s…", err, row.want)
		}
	}
	for _, p := range rt.Providers() {
		if p.Name == CUDA && (p.Err == nil || !strings.Contains(p.Err.Error(), want)) {
			t.Errorf("Providers says of CUDA: %v", p.Err)
		}
	}
}

// A model that is no good is not taken for the fault of a provider.
func TestBadModelIsNoProviderError(t *testing.T) {
	rt := newRuntime(t)
	_, err := rt.Open(SessionOptions{Name: "m", ONNX: []byte("no model"), Providers: Providers{Order: []string{CUDA, CPU}}}, 1)
	var failed *ProviderError
	if err == nil || errors.As(err, &failed) || !strings.HasPrefix(err.Error(), "model m: ONNX Runtime refuses it: ") {
		t.Error(err)
	}
}

// flagsOf is how a signal is handled: the second word of the kernel's struct sigaction.
func flagsOf(t *testing.T, s syscall.Signal) uint64 {
	t.Helper()
	var action [8]uint64
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	return action[1]
}

const onStack = 0x08000000 // SA_ONSTACK

func TestPlugins(t *testing.T) {
	dir := t.TempDir()
	made := func(mode string) string {
		path := filepath.Join(dir, mode+".so")
		compile(t, path, filepath.Join("testdata", "plugin.c"), "-shared", "-fPIC", "-DMODE="+mode)
		return path
	}
	works := made("WORKS")
	whole, err := os.ReadFile(works)
	if err != nil {
		t.Fatal(err)
	}
	nothing := filepath.Join(dir, "nothing.so")
	compile(t, nothing, write(t, filepath.Join(dir, "nothing.c"), "int nothing;"), "-shared", "-fPIC")
	for _, row := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none.so"), "no such file or directory; correct engine.plugins, or install it"},
		{"folder", dir, "is not a file; name the .so file"},
		{"text", write(t, filepath.Join(dir, "text.so"), "not a library"), "is not a library, or damaged"},
		{"truncated", write(t, filepath.Join(dir, "half.so"), string(whole[:len(whole)/2])), "is not a library, or damaged"},
		{"no entry points", nothing, "it has no function CreateEpFactories"},
		{"factory fails", made("NO_FACTORY"), "no licence for this machine"},
		{"no device", made("NO_DEVICE"), "it offers no provider for this machine"},
		{"provider fails", made("NO_PROVIDER"), "the accelerator is on fire"},
		{"run fails", made("NO_RUN"), "no power"},
		{"works", works, ""},
	} {
		t.Run(row.name, func(t *testing.T) { tryPlugin(t, row.path, row.want) })
	}
}

func tryPlugin(t *testing.T, path, want string) {
	before := flagsOf(t, syscall.SIGTERM)
	rt, err := NewRuntime(RuntimeOptions{Embedded: embedded.Runtime, Plugins: []string{path}})
	if errors.Is(err, embedded.ErrMissing) && os.Getenv("GNOMON_REQUIRE_PARTS") == "" {
		t.Skip("needs the embedded parts: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
	}()
	o := SessionOptions{Name: "m", ONNX: double(t, 1, 3, 4, 6), Width: 6, Height: 4}
	o.Providers = Providers{Order: []string{"TestProvider", CPU}, Options: map[string]map[string]string{"TestProvider": {"colour": "red"}}}
	sessions, err := rt.Open(o, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, sessions)
	p := sessions[0].Placement()
	switch {
	case want == "" && (!slices.Equal(p.Providers, o.Providers.Order) || p.OnCPU() != 1 || p.String() != "TestProvider: 0 nodes, cpu: 1 node" || len(p.Fallen) > 0):
		t.Errorf("placement %+v", p)
	case want != "" && (len(p.Fallen) != 1 || !strings.Contains(p.Fallen[0].Error(), want) || !slices.Equal(p.Providers, []string{CPU})):
		t.Errorf("placement %+v, %v; want …%s…", p, p.Fallen, want)
	}
	if now := flagsOf(t, syscall.SIGTERM); before&onStack == 0 || now != before {
		t.Errorf("the plugin's signal handler stayed: flags %#x, before %#x", now, before)
	}
	o.Providers.Strict = true
	strict, err := rt.Open(o, 1)
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("strict: %v, want …%s…", err, want)
	}
	closeAll(t, strict)
}

// What replaced a handler that ran on its own stack goes again; what is as good stays.
func TestGuardSignals(t *testing.T) {
	rt := newRuntime(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "plugin.so")
	compile(t, path, filepath.Join("testdata", "plugin.c"), "-shared", "-fPIC")
	outer, inner := guardSignals(), guardSignals()
	if err := ortgo.RegisterExecutionProviderLibrary("signals", path); err != nil {
		t.Fatal(err)
	}
	if flagsOf(t, syscall.SIGTERM)&onStack != 0 {
		t.Error("the plugin did not replace the handler")
	}
	late := guardSignals() // which has nothing better to put back
	if n := inner(); n != 1 {
		t.Errorf("%d handlers were put back, want 1", n)
	}
	if a, b := outer(), late(); a != 0 || b != 0 || flagsOf(t, syscall.SIGTERM)&onStack == 0 {
		t.Errorf("then %d and %d more", a, b)
	}
	if err := ortgo.UnregisterExecutionProviderLibrary("signals"); err != nil {
		t.Error(err)
	}
	_ = rt
}

func TestProgress(t *testing.T) {
	told := make(chan string, 1)
	m := &opening{c: Providers{Order: []string{TensorRT, CPU}}.choice(), o: SessionOptions{Progress: func(provider string, elapsed time.Duration) {
		if elapsed > 0 {
			select {
			case told <- provider:
			default:
			}
		}
	}}}
	stop := m.watch(time.Millisecond)
	if p := <-told; p != TensorRT {
		t.Errorf("it tells of %q", p)
	}
	stop()
	(&opening{}).watch(time.Millisecond)()
}

func TestHint(t *testing.T) {
	for msg, want := range map[string]string{
		"TensorRT execution provider is not enabled in this build.":                                                                                    "/x.so is a build for the CPU: set engine.library to a GPU build",
		"Failed to load library libonnxruntime_providers_cuda.so with error: libcudnn.so.9: cannot open shared object file: No such file or directory": "install CUDA and cuDNN",
		"libnvinfer.so.10: cannot open shared object file: No such file or directory":                                                                  "install TensorRT",
		"CUDA failure 100: no CUDA-capable device is detected":                                                                                         "the NVIDIA driver or the GPU itself is missing",

		"CUDA failure 2: out of memory": "the memory of the GPU does not suffice: use fewer sessions",
		"what nobody has seen":          "",
	} {
		if got := hint(CUDA, msg, "/x.so", "1.29.0"); (want == "") != (got == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", msg, got, want)
		}
	}
}

// Nodes are counted also where they are many and of one provider.
func TestNodes(t *testing.T) {
	rt := newRuntime(t)
	model := build(t, value("x", "float32", 1, 3, 4, 6), value("y", "float32", 1, 3, 4, 6), nil,
		onnx.Node{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"a"}}, onnx.Node{OpType: "Abs", Inputs: []string{"a"}, Outputs: []string{"b"}},
		onnx.Node{OpType: "Neg", Inputs: []string{"b"}, Outputs: []string{"y"}})
	sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: model, Width: 6, Height: 4}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, sessions)
	if got := sessions[0].Placement().String(); got != "cpu: 3 nodes" {
		t.Error(got)
	}
}
