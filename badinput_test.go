package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every kind of bad input gives one clear sentence and the right exit code, never a stack trace.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string { return write(t, filepath.Join(dir, name), data) }
	text := func(name, s string) string { return file(name, []byte(s)) }
	model := filepath.Join("testdata", "models", "yolov8.onnx")
	picture := filepath.Join("testdata", "pictures", "wide_256x128.png")
	modelBytes, pictureBytes := read(t, model), read(t, picture)
	locked := filepath.Join(dir, "none", "out.mp4")

	rows := []struct {
		name string
		args []string
		code int
		want string // the whole of stderr, without "gnomon: "; DIR stands for the test's directory
	}{
		{"no such file", []string{"detect", "--model", model, filepath.Join(dir, "none.jpg")}, exitFailed, "DIR/none.jpg: no such file"},
		{"not a video", []string{"detect", "--model", model, text("text.mp4", "this is no video")}, exitFailed, "DIR/text.mp4: neither a picture nor a video that can be read"},
		{"empty picture", []string{"detect", "--model", model, file("zero.jpg", nil)}, exitFailed, "DIR/zero.jpg is empty (0 bytes): neither a picture nor a video that can be read"},
		{"truncated picture", []string{"detect", "--model", model, file("cut.png", pictureBytes[:len(pictureBytes)/2])}, exitFailed, "DIR/cut.png: the picture is cut short; copy or download it again"},
		{"one bad input of two", []string{"detect", "--model", model, picture, filepath.Join(dir, "zero.jpg")}, exitFailed, "DIR/zero.jpg is empty (0 bytes): neither a picture nor a video that can be read"},
		{"no model", []string{"detect", "--model", filepath.Join(dir, "none.onnx"), picture}, exitFailed, "model DIR/none.onnx: no such file"},
		{"model is a picture", []string{"detect", "--model", file("picture.onnx", pictureBytes), picture}, exitFailed, "model DIR/picture.onnx: not an ONNX model: it looks like a PNG picture"},
		{"empty model", []string{"detect", "--model", file("empty.onnx", nil), picture}, exitFailed, "model DIR/empty.onnx: the file is empty"},
		{"truncated model", []string{"detect", "--model", file("cut.onnx", modelBytes[:2000]), picture}, exitFailed, "model DIR/cut.onnx: truncated: the file ends in the middle of the model after 2000 bytes; copy or download it again"},
		{"unknown head", []string{"detect", "--model", filepath.Join("testdata", "models", "unknown_head.onnx"), picture}, exitFailed, "…are those of no known family…"},
		{"manifest of another family", []string{"detect", "--model", model, "--manifest", text("family.yaml", "family: nanodet\n"), picture}, exitFailed, "…family…"},
		{"manifest of another size", []string{"detect", "--model", model, "--manifest", text("size.yaml", "input: {width: 320, height: 320}\n"), picture}, exitFailed, "…DIR/size.yaml:1:…320…"},
		{"manifest of another file", []string{"detect", "--model", model, "--manifest", text("sum.yaml", "sha256: "+strings.Repeat("a", 64)+"\n"), picture}, exitFailed, "…DIR/sum.yaml:1:9: sha256 is aaaa…the manifest belongs to another file, or the file is damaged"},
		{"fewer labels than classes", []string{"detect", "--model", model, "--manifest", text("few.yaml", "labels: [a, b]\n"), picture}, exitFailed, "DIR/few.yaml:1:9: labels has 2 labels, but the model has 3 classes; write one label for each class, in the model's order"},
		{"unknown key in the manifest", []string{"detect", "--model", model, "--manifest", text("typo.yaml", "famly: yolov8\n"), picture}, exitFailed, `DIR/typo.yaml:1:1: unknown key "famly" in the top level; did you mean "family"?`},
		{"manifest for the default model", []string{"detect", "--manifest", filepath.Join(dir, "few.yaml"), picture}, exitUsage, "the default model brings its own manifest; name a model file to use another one"},
		{"unknown key", []string{"config", "check", text("key.yaml", "mqtt:\n  brokr: mqtt://h\n")}, exitUsage, `DIR/key.yaml:2:3: unknown key "brokr" in mqtt; did you mean "broker"?`},
		{"wrong type", []string{"run", "--config", text("type.yaml", "mqtt:\n  qos: many\n")}, exitUsage, `DIR/type.yaml:2:8: mqtt.qos must be…`},
		{"impossible value", []string{"run", "--config", text("value.yaml", "mqtt:\n  qos: 2\nsources:\n  a: {uri: x.avi, score_threshold: 7}\n")}, exitUsage, "…DIR/value.yaml:2:8: mqtt.qos…DIR/value.yaml:4:36: sources.a.score_threshold must be above 0 and at most 1, not 7…"},
		{"no such configuration", []string{"run", "--config", filepath.Join(dir, "none.yaml")}, exitUsage, "…DIR/none.yaml: no such file…"},
		{"no such source", []string{"run", "--config", text("source.yaml", "sources: {a: {uri: none.avi}}\n"), "--duration", "1m"}, exitFailed, "…DIR/none.avi: no such file"},
		{"no source enabled", []string{"run", "--config", text("off.yaml", "sources: {a: {uri: none.avi, enabled: false}}\n")}, exitUsage, "…enabled…"},
		{"no such library", []string{"run", "--config", text("lib.yaml", "engine: {library: none.so}\n")}, exitFailed, "…ONNX Runtime library (engine.library): stat DIR/none.so: no such file or directory"},
		{"unwritable output", []string{"detect", "--model", model, "--annotate", locked, picture}, exitFailed, "--annotate: cannot write there: open DIR/none/out.mp4: no such file or directory"},
		{"unwritable results", []string{"eval", "--annotations", text("a.json", `{"images":[{"id":1,"file_name":"cut.png","width":9,"height":9}],"annotations":[],"categories":[{"id":1,"name":"red"}]}`), "--images", dir, "--results", filepath.Join(dir, "none", "r.json")}, exitFailed, "--results: open DIR/none/r.json.…: no such file or directory"},
		{"annotations of nothing", []string{"eval", "--annotations", text("nothing.json", `{"images":[],"annotations":[],"categories":[{"id":1,"name":"red"}]}`), "--images", dir}, exitFailed, "DIR/nothing.json names no pictures"},
		{"output over its input", []string{"detect", "--model", model, "--annotate", file("over.png", pictureBytes), filepath.Join(dir, "over.png")}, exitUsage, "--annotate would write over the input DIR/over.png"},
		{"outputs over their inputs", []string{"detect", "--model", model, "--annotate", dir, filepath.Join(dir, "over.png")}, exitUsage, "--annotate would write over the input DIR/over.png"},
		{"two outputs of one name", []string{"detect", "--model", model, "--annotate", t.TempDir(), file("a/same.png", pictureBytes), file("b/same.png", pictureBytes)}, exitUsage, "--annotate would write …/same.png twice, for DIR/a/same.png and DIR/b/same.png; annotate them one at a time"},
		{"score of nothing", []string{"detect", "--score", "0", picture}, exitUsage, "--score must be above 0 and at most 1"},
		{"annotations are a picture", []string{"eval", "--annotations", picture, "--images", dir}, exitFailed, "…not JSON…"},
		{"output of no kind", []string{"detect", "--model", model, "--annotate", filepath.Join(dir, "x.txt"), picture}, exitFailed, "…cannot tell from the name what to write…"},
		{"no input", []string{"detect"}, exitUsage, "gnomon detect needs a picture, a folder or a video; see gnomon detect --help"},
		{"unknown command", []string{"detct"}, exitUsage, `unknown command "detct" for "gnomon"…`},
		{"unknown flag", []string{"detect", "--nope", picture}, exitUsage, "unknown flag: --nope; see gnomon detect --help"},
		{"bad flag", []string{"detect", "--score", "2", picture}, exitUsage, "--score must be above 0 and at most 1"},
		{"too many sessions", []string{"detect", "--sessions", "99", picture}, exitUsage, "--sessions must be between 1 and 64"},
		{"several inputs, one output", []string{"detect", "--annotate", filepath.Join(dir, "x.jpg"), picture, picture}, exitUsage, "…with several inputs it must name an existing directory"},
		{"eval without its flags", []string{"eval"}, exitUsage, "gnomon eval needs --annotations and --images; see gnomon eval --help"},
		{"unknown subcommand", []string{"models", "foo"}, exitUsage, `unknown command "foo" for gnomon models; see gnomon models --help`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, stderr, code := gnomon(t, row.args...)
			var lines []string
			for line := range strings.Lines(stderr) { // what the log says beside it is not the answer
				if !strings.HasPrefix(line, "{") {
					lines = append(lines, line)
				}
			}
			got := strings.ReplaceAll(strings.TrimSpace(strings.Join(lines, "")), dir, "DIR")
			want := "gnomon: " + row.want
			if code != row.code || !like(want, got) {
				t.Errorf("exit code %d, want %d\ngot  %s\nwant %s", code, row.code, got, want)
			}
			if strings.Contains(got, "goroutine ") || strings.Contains(got, "panic") {
				t.Error("a stack trace")
			}
		})
	}
}

// like compares with a pattern in which … stands for anything.
func like(pattern, s string) bool {
	parts := strings.Split(pattern, "…")
	if len(parts) == 1 {
		return s == pattern
	}
	if !strings.HasPrefix(s, parts[0]) || !strings.HasSuffix(s, parts[len(parts)-1]) {
		return false
	}
	for _, p := range parts {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

func TestLike(t *testing.T) {
	for _, row := range []struct {
		pattern, s string
		want       bool
	}{{"ab", "ab", true}, {"ab", "abc", false}, {"a…c", "abc", true}, {"a…c", "ac", true}, {"a…c", "abd", false}, {"…b…d…", "abcde", true}, {"…d…b…", "abcde", false}} {
		if got := like(row.pattern, row.s); got != row.want {
			t.Errorf("%q like %q: %v", row.s, row.pattern, got)
		}
	}
}

// A truncated video gives what could be read, then the error.
func TestTruncatedVideo(t *testing.T) {
	needSample(t)
	whole := read(t, os.Getenv(sampleEnv))
	cut := write(t, filepath.Join(t.TempDir(), "cut.avi"), whole[:len(whole)/8])
	stdout, stderr, code := gnomon(t, "detect", "--json", "--model", filepath.Join("testdata", "models", "yolov8.onnx"), cut)
	if n := len(messages(t, stdout)); n < 50 || code != exitFailed || !like("gnomon: …cut.avi: the video ends early: its header announces 795 frames and … could be read\n", stderr) {
		t.Errorf("%d frames, exit code %d: %s", n, code, stderr)
	}
}

// Results that cannot be written are an error, not silence.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs /dev/full: ", err)
	}
	defer func() { _ = full.Close() }()
	for _, args := range [][]string{{"detect", "--json"}, {"detect"}} {
		c := command(t, append(args, "--model", filepath.Join("testdata", "models", "yolov8.onnx"), filepath.Join("testdata", "pictures", "wide_256x128.png"))...)
		var stderr strings.Builder
		c.Stdout, c.Stderr = full, &stderr
		if err := c.Run(); err == nil || c.ProcessState.ExitCode() != exitFailed || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%v: %v, %s", args, err, stderr.String())
		}
	}
}
