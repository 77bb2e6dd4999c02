package bundle

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// hostile is one archive that nobody should have to trust.
type hostile struct {
	name   string
	data   []byte
	want   Code
	text   string // part of the error
	limits Limits
}

// TestHostileArchives: each costs an error with its code and nothing else; place.unpack looks what is on the disk.
func TestHostileArchives(t *testing.T) {
	var cases []hostile
	for _, more := range [][]hostile{entries(), names(), broken(t), bombs(t), nested(t)} {
		cases = append(cases, more...)
	}
	if len(cases) < 90 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			p.add(t, "m.tar", tt.data)
			_, err := p.unpack(t, tt.limits)
			if code(err) != tt.want || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("got  %v (%s)\nwant %q (%s)", err, code(err), tt.text, tt.want)
			}
		})
	}
}

// good is a model as an entry made by hand.
var good = file("m.onnx", model)

// entries are no regular files, or not at peace with each other.
func entries() []hostile {
	unsafe := func(name, text string, parts ...string) hostile {
		return hostile{name: name, data: []byte(good + strings.Join(parts, "") + end), want: CodeUnsafe, text: text}
	}
	none := octal(0)
	pax := func(records ...string) string {
		var body string
		for _, r := range records {
			for n := len(r) + 3; ; n++ { // the length of a record counts itself
				if line := fmt.Sprintf("%d %s\n", n, r); len(line) == n {
					body += line
					break
				}
			}
		}
		return raw("PaxHeaders/x", octal(len(body)), tar.TypeXHeader, "", body)
	}
	long := func(name string) string {
		return raw("././@LongLink", octal(len(name)+1), tar.TypeGNULongName, "", name+"\x00")
	}
	return []hostile{
		unsafe("symbolic link", "a symbolic link", raw("l", none, tar.TypeSymlink, "../secret", "")),
		unsafe("symbolic link inside", "a symbolic link", raw("l", none, tar.TypeSymlink, "m.onnx", "")),
		unsafe("symbolic link, then through it", "a symbolic link", raw("l", none, tar.TypeSymlink, "..", ""), file("l/secret", "x")),
		unsafe("link that looks like one of macOS", "a symbolic link", raw("._l", none, tar.TypeSymlink, "..", "")),
		unsafe("hard link", "a hard link", raw("l", none, tar.TypeLink, "m.onnx", "")),
		unsafe("hard link to the outside", "a hard link", raw("l", none, tar.TypeLink, "../secret", "")),
		unsafe("hard link with contents", "a hard link", raw("l", octal(4), tar.TypeLink, "../secret", "over")),
		unsafe("character device", "a device", raw("d", none, tar.TypeChar, "", "")),
		unsafe("block device", "a device", raw("d", none, tar.TypeBlock, "", "")),
		unsafe("pipe", "a named pipe", raw("p", none, tar.TypeFifo, "", "")),
		unsafe("contiguous file", "neither file nor folder", raw("c", none, tar.TypeCont, "", "")),
		unsafe("volume header", "neither file nor folder", raw("v", none, 'V', "", "")),
		unsafe("unknown type", "neither file nor folder", raw("z", none, 'Z', "", "")),
		unsafe("sparse file in the way of PAX 0.1", "sparse", pax("GNU.sparse.map=0,1", "GNU.sparse.size=1073741824", "GNU.sparse.numblocks=1"), file("s", "x")),
		unsafe("sparse file in the way of PAX 1.0", "sparse", pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=../s", "GNU.sparse.realsize=1073741824"), file("s", "1\n0\n1\n"+strings.Repeat("\x00", block-6)+"x")),
		unsafe("file twice", "is there twice", file("m.onnx", "other")),
		unsafe("file twice, once with ./", "is there twice", file("./m.onnx", "other")),
		unsafe("names that differ in case", "upper and lower case", file("M.onnx", model)),
		unsafe("folders that differ in case", "upper and lower case", file("a/x", ""), file("A/y", "")),
		unsafe("file and folder", "a file here and a folder there", file("m.onnx/x", "")),
		unsafe("folder and file", "a file here and a folder there", file("a/x", ""), file("a", "")),
		unsafe("folder entry over a file", "a file here and a folder there", raw("m.onnx/", none, tar.TypeDir, "", "")),
		unsafe("parent by a PAX header", "must lie in the model's folder", pax("path=../x"), file("x", "")),
		unsafe("absolute by a PAX header", "absolute", pax("path=/x"), file("x", "")),
		unsafe("link by a PAX header", "a symbolic link", pax("linkpath=/etc/shadow"), raw("l", none, tar.TypeSymlink, "m.onnx", "")),
		unsafe("parent by a GNU header", "must lie in the model's folder", long("a/../../x"), file("x", "")),
		unsafe("long name by a GNU header", "1 to 1024 bytes", long(strings.Repeat("a/", 512)+"a"), file("x", "")),
		unsafe("long element by a PAX header", "more than 255 bytes", pax("path="+strings.Repeat("a", 256)), file("x", "")),
	}
}

// names are no names of files.
func names() []hostile {
	var cases []hostile
	for _, name := range []string{
		"..", "../x", "a/../../x", "a/..", "a/../x", "./../x", "a//x", "a/./x", "a/", "/x", "//x", "/", ".", "", `a\x`, `..\x`,
		"C:x", "C:/x", "a:b", "x\n", "x\x1b[2J", "x\x7f", "x\xff", "x\u202egpj", "x\u00a0", "version.json", "x.tmp", ".wh.x", "a/.wh..wh..opq",
		"~/../../x", "..x/../..", "../._x",
	} {
		cases = append(cases, hostile{name: fmt.Sprintf("name/%q", name), data: []byte(good + file(name, "") + end), want: CodeUnsafe})
	}
	for _, name := range []string{"../", "a/../../", "/", "a//"} {
		cases = append(cases, hostile{name: fmt.Sprintf("folder/%q", name), data: []byte(good + raw(name, octal(0), tar.TypeDir, "", "") + end), want: CodeUnsafe})
	}
	return cases
}

// broken archives are cut, damaged, or have something behind them.
func broken(t *testing.T) []hostile {
	whole := good + file("w", strings.Repeat("w", 1500)) + end
	flip := func(data []byte, at int) []byte {
		data = bytes.Clone(data)
		data[at] ^= 0x55
		return data
	}
	gz, zst := gzipped(t, []byte(whole)), zstded(t, []byte(whole), zstd.WithEncoderCRC(true))
	damaged := func(name string, data string) hostile {
		return hostile{name: "broken/" + name, data: []byte(data), want: CodeDamaged, text: "cut or damaged"}
	}
	return []hostile{
		damaged("in a header", whole[:2*block+100]),
		damaged("in contents", whole[:3*block+100]),
		damaged("in padding", whole[:block+100]),
		damaged("after an entry", good),
		damaged("one block of zeros", good+end[:block]),
		damaged("zeros that are contents", good+file("z", strings.Repeat("\x00", 4*block))),
		damaged("header checksum", good+string(flip([]byte(whole), 0)[:block])+end),
		damaged("negative size", good+raw("x", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", tar.TypeReg, "", "")+end),
		damaged("size that is text", good+raw("x", "everything", tar.TypeReg, "", "")+end),
		damaged("something behind", whole+"x"),
		damaged("archive behind", whole+whole),
		damaged("endless PAX header", good+raw("p", octal(2<<20), tar.TypeXHeader, "", strings.Repeat("x", 2<<20))+end),
		damaged("PAX header that is none", good+raw("p", octal(4), tar.TypeXHeader, "", "9999")+file("x", "")+end),
		damaged("zero byte in a PAX path", good+raw("p", octal(12), tar.TypeXHeader, "", "12 path=a\x00b\n")+file("x", "")+end),
		damaged("gzip cut", string(gz[:len(gz)/2])),
		damaged("gzip without its checksum", string(gz[:len(gz)-8])),
		damaged("gzip with another checksum", string(flip(gz, len(gz)-8))),
		damaged("gzip with another length", string(flip(gz, len(gz)-1))),
		damaged("gzip with something behind", string(gz)+"garbage that is no member"),
		damaged("gzip header only", string(gz[:10])),
		damaged("zstd cut", string(zst[:len(zst)/2])),
		damaged("zstd with another checksum", string(flip(zst, len(zst)-1))),
		damaged("zstd with something behind", string(zst)+"garbage that is no frame"),
		damaged("zstd header only", string(zst[:5])),
	}
}

// bombs expand further, or are more, than the limits allow.
func bombs(t *testing.T) []hostile {
	// As little as passes the limit, which depends on what the archive compresses to: making it takes most of the time here.
	zeros := make([]byte, ratioAllowance+1<<19)
	behind := gzipped(t, append([]byte(good+end), zeros...))
	copy(zeros, good+raw("z", octal(len(zeros)-3*block), tar.TypeReg, "", ""))
	far := Limits{MaxRatio: 1}
	small := Limits{MaxBytes: 1 << 20, MaxFiles: 10}
	limit := func(name, text string, data []byte, l Limits) hostile {
		return hostile{name: "bomb/" + name, data: data, want: CodeLimit, text: text, limits: l}
	}
	var many, deep, folders strings.Builder
	for i := range 11 {
		many.WriteString(file(fmt.Sprint(i), ""))
		folders.WriteString(raw(fmt.Sprintf("%d/", i), octal(0), tar.TypeDir, "", ""))
	}
	deep.WriteString(file(strings.Repeat("a/", 12)+"x", ""))
	mac := strings.Repeat(file("._x", "x"), 11)
	half := strings.Repeat("x", 1<<19)
	return []hostile{
		limit("gzip ratio", "expands to more than", gzipped(t, zeros), far),
		limit("zstd ratio", "expands to more than", zstded(t, zeros), far),
		limit("ratio of what is behind the end", "expands to more than", behind, far),
		limit("bytes of one file", "more than the 1048576 bytes", []byte(good+file("x", strings.Repeat("x", 1<<20))+end), small),
		limit("bytes of all files", "more than the 1048576 bytes", []byte(good+file("x", half)+file("y", half)+end), small),
		limit("bytes of what is dropped", "more than the 1048576 bytes", []byte(good+file("._x", half)+file("._y", half)+file("._z", half)+end), small),
		limit("claimed bytes", "more than the 4294967296 bytes", []byte(good+raw("x", "77777777777\x00", tar.TypeReg, "", "x")+end), Limits{}),
		limit("claimed bytes in base 256", "more than the 4294967296 bytes", []byte(good+raw("x", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", tar.TypeReg, "", "x")+end), Limits{}),
		limit("claimed bytes, no limit to speak of", "more than the 1125899906842624 bytes", []byte(good+raw("x", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", tar.TypeReg, "", "x")+end), Limits{MaxBytes: math.MaxInt64}),
		limit("files", "more than 10 entries", []byte(good+many.String()+end), small),
		limit("folders", "more than 10 entries", []byte(good+folders.String()+end), small),
		limit("folders in folders", "more than 10 files and folders", []byte(good+deep.String()+end), small),
		limit("entries that are dropped", "more than 10 entries", []byte(good+mac+end), small),
		limit("zstd window", "bytes of memory", setWindow(zstded(t, []byte(good+end))), Limits{}),
		{name: "bomb/full disk", data: []byte(good + end), want: CodeDiskFull, text: "make room", limits: Limits{KeepFree: math.MaxInt64}},
		{name: "bomb/full disk, dropped entry", data: []byte(file("._x", "x") + end), want: CodeDiskFull, text: "make room", limits: Limits{KeepFree: math.MaxInt64}},
	}
}

// setWindow makes the first frame ask for a window of 2 GiB (RFC 8878, 3.1.1.1.2).
func setWindow(frame []byte) []byte {
	frame = bytes.Clone(frame)
	frame[4] &^= 1 << 5 // no single segment, so that there is a window descriptor
	frame[5] = 21 << 3
	return frame
}

// nested things are archives that are no models, or that have archives in them.
func nested(t *testing.T) []hostile {
	plain := []byte(good + end)
	gz, zst := gzipped(t, plain), zstded(t, plain)
	unsupported := func(name string, data []byte, text string) hostile {
		return hostile{name: "nested/" + name, data: data, want: CodeUnsupported, text: text}
	}
	in := func(data []byte) []byte { return []byte(good + file("x.bin", string(data)) + end) }
	return []hostile{
		unsupported("tar in tar", in(plain), "a tar archive within the model"),
		unsupported("gzip in tar", in(gz), "a gzip file within the model"),
		unsupported("zstd in tar", in(zst), "a zstd file within the model"),
		unsupported("zip in tar", in([]byte("PK\x03\x04....")), "a zip archive"),
		unsupported("bzip2 in tar", in([]byte("BZh91AY&SY....")), "a bzip2 file"),
		unsupported("gzip in gzip", gzipped(t, gz), "inside is a gzip file"),
		unsupported("gzip in zstd", zstded(t, gz), "inside is a gzip file"),
		unsupported("a model in gzip", gzipped(t, []byte(model)), "no tar archive"),
		unsupported("nothing in gzip", gzipped(t, nil), "inside is nothing"),
		unsupported("zip", []byte("PK\x03\x04...."), "a zip archive or a PyTorch file"),
		unsupported("xz", []byte("\xfd7zXZ\x00...."), "an xz file"),
		unsupported("7z", []byte("7z\xbc\xaf\x27\x1c...."), "a 7z archive"),
		{name: "nested/no model", data: []byte(file("readme.txt", "x") + end), want: CodeIncomplete},
		{name: "nested/two models", data: []byte(good + file("n.onnx", model) + end), want: CodeAmbiguous},
		{name: "nested/empty layer", data: gzipped(t, []byte(end)), want: CodeIncomplete},
	}
}

// TestEveryTruncationIsAnError: an archive that was cut anywhere never passes for a whole one.
func TestEveryTruncationIsAnError(t *testing.T) {
	whole := []byte(good + file("labels.txt", "cat") + end)
	for name, data := range map[string][]byte{"tar": whole, "gzip": gzipped(t, whole), "zstd": zstded(t, whole)} {
		p := newPlace(t)
		p.add(t, "m", nil)
		for n := range len(data) {
			if inBlock := n % block; name == "tar" && inBlock > 1 && inBlock < block-1 && inBlock%97 != 0 {
				continue // cuts in the middle of a block are alike
			}
			if err := os.WriteFile(p.sources[0].Path, data[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := p.unpack(t, Limits{})
			// Less than a header, or than a magic number, is no archive at all but the one file, called model.onnx.
			if tooShort := name == "tar" && n < block || n < 4; err == nil && !tooShort {
				t.Errorf("%s: the first %d of %d bytes: %v", name, n, len(data), err)
			}
			if err := clean(p.dst); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// clean empties a directory.
func clean(dir string) error {
	found, err := os.ReadDir(dir)
	for _, d := range found {
		if err := os.RemoveAll(filepath.Join(dir, d.Name())); err != nil {
			return err
		}
	}
	return err
}

// FuzzUnpack: whatever the bytes, and however they are compressed, place.unpack finds nothing outside.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte(good + end))
	f.Add(pack(f, street()...))
	for _, h := range entries() {
		f.Add(h.data)
	}
	f.Add([]byte(file("../x", "x") + end))
	l := Limits{MaxBytes: 1 << 16, MaxFiles: 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, blob := range [][]byte{data, gzipped(t, data)} {
			p := newPlace(t)
			p.add(t, "m", blob)
			c, err := p.unpack(t, l)
			if (err == nil) != (c.Model != "") {
				t.Fatalf("%+v, %v", c, err)
			}
			for _, file := range c.Files {
				info, err := os.Lstat(filepath.Join(p.dst, file.Name))
				if err != nil || !info.Mode().IsRegular() || info.Size() != file.Size {
					t.Fatalf("%+v: %v", file, err)
				}
			}
		}
	})
}
