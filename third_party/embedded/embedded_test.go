package embedded

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

// The parts are all there, or each says that it is missing and what to do.
func TestParts(t *testing.T) {
	var lib bytes.Buffer
	errLib := Runtime(&lib)
	model, manifest, errModel := Model()
	for _, err := range []error{errLib, errModel} {
		if err == nil {
			continue
		}
		if os.Getenv("GNOMON_REQUIRE_PARTS") != "" {
			t.Error(err)
		}
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "make build") {
			t.Errorf("a part that is not there says: %v", err)
		}
	}
	if errLib == nil && !bytes.HasPrefix(lib.Bytes(), []byte("\x7fELF")) {
		t.Error("ONNX Runtime is not a library")
	}
	if errModel == nil && (len(model) < 1<<20 || !bytes.Contains(manifest, []byte("family: nanodet"))) {
		t.Errorf("a model of %d bytes and the manifest\n%s", len(model), manifest)
	}
}

func TestUnpackErrors(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := z.EncodeAll(bytes.Repeat([]byte("gnomon "), 1000), nil)
	files := fstest.MapFS{"good": {Data: whole}, "cut": {Data: whole[:len(whole)-4]}, "none": {Data: []byte("not zstd")}}
	var out bytes.Buffer
	if err := unpack(&out, files, "good", "it"); err != nil || out.Len() != 7000 {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
	for _, name := range []string{"cut", "none"} {
		if err := unpack(&out, files, name, "it"); err == nil || !strings.HasPrefix(err.Error(), "unpack it: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := unpack(&out, files, "absent", "it"); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}
