package hardware

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// tree makes files of path, content, path, content, ….
func tree(files ...string) fstest.MapFS {
	t := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		t[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return t
}

const (
	dmi     = "sys/class/dmi/id/"
	machine = "0123456789abcdef0123456789abcdef\n"
)

func TestRead(t *testing.T) {
	const hash = "etc/machine-id"
	for _, tt := range []struct {
		name                  string
		root                  fs.FS
		serial, model, origin string
	}{
		{
			"Jetson", tree("proc/device-tree/serial-number", "1424722012345\x00",
				"proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\x00", hash, machine),
			"1424722012345", "NVIDIA-Jetson-Orin-Nano-Developer-Kit", "/proc/device-tree/serial-number",
		},
		{
			"Raspberry Pi, old kernel", tree("proc/cpuinfo", "processor\t: 0\n\nHardware\t: BCM2835\nSerial\t\t: 10000000a1b2c3d4\nModel\t\t: x\n"),
			"10000000a1b2c3d4", "", "/proc/cpuinfo",
		},
		{
			"PC", tree(dmi+"product_serial", "PF-2ABC/9\n", dmi+"product_name", "20XW (X1), Gen 9\n"),
			"PF-2ABC-9", "20XW-X1-,-Gen-9", "/sys/class/dmi/id/product_serial",
		},
		{
			"PC of parts", tree(dmi+"product_serial", "To be filled by O.E.M.\n", dmi+"product_name", "System Product Name\n",
				dmi+"board_serial", "210382716401234\n", dmi+"board_name", "PRIME B550M-A\n"),
			"210382716401234", "PRIME-B550M-A", "/sys/class/dmi/id/board_serial",
		},
		{
			"only a UUID", tree(dmi+"product_serial", "0\n", dmi+"board_serial", "Default string\n", dmi+"product_uuid", "4c4c4544-0042-4a10-8044-b4c04f4e3332\n"),
			"4c4c4544-0042-4a10-8044-b4c04f4e3332", "", "/sys/class/dmi/id/product_uuid",
		},
		{
			"shared UUID", tree(dmi+"product_uuid", "03000200-0400-0500-0006-000700080009\n", hash, machine),
			"", "", "/etc/machine-id",
		},
		{
			"hostile", tree(dmi+"product_serial", "a\x01b\n$aws/#+é"+strings.Repeat("9", 500)),
			"ab-aws-" + strings.Repeat("9", maxValue-7), "", "/sys/class/dmi/id/product_serial",
		},
	} {
		got, err := Read(tt.root)
		if err != nil || got.Model != tt.model || got.Origin != tt.origin {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
		if tt.serial != "" && (got.SerialNumber != tt.serial || got.Note != "") {
			t.Errorf("%s: %q, %q", tt.name, got.SerialNumber, got.Note)
		}
		if tt.serial == "" && (len(got.SerialNumber) != 32 || got.Note == "" || strings.Contains(machine, got.SerialNumber)) {
			t.Errorf("%s: %q, %q", tt.name, got.SerialNumber, got.Note)
		}
	}
	if _, err := Read(tree()); err == nil || !strings.Contains(err.Error(), "--parameter SerialNumber") {
		t.Errorf("nothing at all: %v", err)
	}
	a, _ := Read(tree(hash, machine))
	b, _ := Read(tree(hash, "f"+machine[1:]))
	if a.SerialNumber == b.SerialNumber {
		t.Error("two machines have one number")
	}
}

// sealed is a tree in which one file is for root only.
type sealed struct{ fstest.MapFS }

func (s sealed) Open(name string) (fs.File, error) {
	if name == dmi+"product_serial" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return s.MapFS.Open(name)
}

func TestDenied(t *testing.T) {
	got, err := Read(sealed{tree("etc/machine-id", machine)})
	if err != nil || !strings.Contains(got.Note, "as root") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPlaceholders(t *testing.T) {
	for _, text := range []string{
		"", "0", "0000000000", "None", "To be filled by O.E.M.", "To Be Filled By O.E.M", "N/A", "Not Specified", "Default string",
		"System Serial Number", "INVALID", "........", "xxxxxxxx", "FFFFFFFF", "123456789", "OEM", "   ",
	} {
		if !placeholder(text) {
			t.Errorf("%q counts as a value", text)
		}
	}
	for _, text := range []string{"00000001", "PF2ABC", "f00d", "1234567891"} {
		if placeholder(text) {
			t.Errorf("%q counts as none", text)
		}
	}
}

// TestThisMachine: whatever it is, it can be read and sent.
func TestThisMachine(t *testing.T) {
	got, err := Read(os.DirFS("/"))
	if err != nil {
		t.Skipf("this machine has neither: %v", err)
	}
	if keep(got.SerialNumber, nameRune) != got.SerialNumber || keep(got.Model, attributeRune) != got.Model {
		t.Errorf("%+v", got)
	}
}
