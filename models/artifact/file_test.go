package artifact

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFiles(t *testing.T) {
	data := modelBytes(modelSize)
	from := t.TempDir()
	file := filepath.Join(from, "my model.onnx")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(file, filepath.Join(from, "link")), os.Mkdir(filepath.Join(from, "dir"), 0o700),
		syscall.Mkfifo(filepath.Join(from, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f := newFetcher(t, Options{Policy: Policy{Allow: []string{"file://" + from + "/*"}}, Limits: Limits{MaxBytes: modelSize}})
	for name, want := range map[string]Code{
		"my%20model.onnx": "", "missing": CodeNotFound, "link": CodeAccessDenied, "dir": CodeAccessDenied, "pipe": CodeAccessDenied,
		"../etc": CodeBadReference,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ref, err := ParseReference("file://" + from + "/" + name)
			if err != nil {
				assertCode(t, err, want)
				return
			}
			result, err := f.Fetch(t.Context(), Request{Reference: ref, SHA256: hexSum(data), Dir: dir})
			assertCode(t, err, want)
			if err != nil {
				return
			}
			assertBlob(t, result, dir, data)
			var a, b unix.Stat_t
			if err := errors.Join(unix.Stat(file, &a), unix.Stat(result.Blobs[0].Path, &b)); err != nil || a.Ino == b.Ino || b.Nlink != 1 {
				t.Errorf("%v, or the file was linked", err)
			}
			if result.Blobs[0].Name != "my_model.onnx" {
				t.Errorf("name %q", result.Blobs[0].Name)
			}
		})
	}
	for name, c := range map[string]struct {
		etag string
		half []byte
	}{"goes on": {"", data}, "changed meanwhile": {"1", make([]byte, modelSize)}} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		leave(t, dir, hexSum(data), c.half[:1000],
			fmt.Sprintf(`{"format":1,"etag":"\"%s%d-%d\"","total":%d}`, c.etag, info.ModTime().UnixNano(), modelSize, modelSize))
		request := Request{Reference: reference(t, "file://"+strings.ReplaceAll(file, " ", "%20")), SHA256: hexSum(data), Dir: dir}
		result, err := f.Fetch(t.Context(), request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		assertBlob(t, result, dir, data)
	}
	if err := os.WriteFile(file, append(data, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := f.Fetch(t.Context(), Request{Reference: reference(t, "file://"+strings.ReplaceAll(file, " ", "%20")), SHA256: hexSum(data), Dir: t.TempDir()})
	assertCode(t, err, CodeTooLarge)
	_, err = f.Fetch(t.Context(), Request{Reference: reference(t, "file://"+from+"/link"), SHA256: hexSum(data), Dir: filepath.Join(from, "nowhere")})
	assertCode(t, err, CodeDiskError)
}

func TestDiskFull(t *testing.T) {
	data := modelBytes(2 << 20)
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chunked" {
			w.Write(data[:1<<20])                 //nolint:errcheck // the client may have stopped
			http.NewResponseController(w).Flush() //nolint:errcheck // makes the length unknown
			w.Write(data[1<<20:])                 //nolint:errcheck // the client may have stopped
			return
		}
		object(w, r, data, `"one"`)
	})
	fetch := func(dir, path string, keep int64) (Result, error) {
		f := newFetcher(t, Options{RootCAs: s.roots(), AllowPrivate: true, Limits: Limits{KeepFree: keep}})
		return f.Fetch(t.Context(), Request{Reference: reference(t, s.URL+path), SHA256: hexSum(data), Dir: dir})
	}
	t.Run("by keeping more free than there is", func(t *testing.T) {
		_, err := fetch(t.TempDir(), "/m", 1<<60)
		assertCode(t, err, CodeDiskFull)
	})
	t.Run("a disk of one megabyte", func(t *testing.T) {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("needs the right to mount: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		for _, path := range []string{"/m", "/chunked"} { // known beforehand, and not
			_, err := fetch(dir, path, 1)
			assertCode(t, err, CodeDiskFull)
		}
		var e *Error
		if _, err := fetch(dir, "/chunked", 1); !errors.As(err, &e) || !e.Temporary() || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v is not a temporary ENOSPC", err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
			t.Fatal(err)
		}
		result, err := fetch(dir, "/m", 1)
		if err != nil {
			t.Fatalf("with room: %v", err)
		}
		assertBlob(t, result, dir, data)
	})
}

func TestNamesAndTexts(t *testing.T) {
	for in, want := range map[string]string{
		"m.onnx": "m.onnx", "a/b/m.onnx": "m.onnx", `a\b.onnx`: "b.onnx", "../..": "x", "": "x", ".": "x", "/": "x", "...": "x", "日本": "x",
		".profile": "profile", "a b\x00c": "a_b_c", strings.Repeat("a", 200) + ".tar.gz": strings.Repeat("a", maxName-7) + ".tar.gz",
	} {
		if got := safeName(in, "x"); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		`Get "https://h/a?X=1&Y=2": EOF`: `Get "https://h/a": EOF`, "a ?b c?d": "a  c", "?": "", "a\nb": "a b",
	} {
		if got := withoutQueries(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"bad pattern": {Policy: Policy{Allow: []string{"*"}}}, "bad host": {ECRHosts: []string{"https://h"}},
		"negative limit": {Limits: Limits{Rate: -1}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	f, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(Limits{MaxBytes: defaultMaxBytes, Timeout: defaultTimeout, Stall: defaultStall, KeepFree: defaultKeepFree})
	if got := fmt.Sprint(f.opts.Limits); got != want {
		t.Errorf("limits %s, want %s", got, want)
	}
	f.Close()
	f.Close()
}
