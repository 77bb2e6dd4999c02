// Package hardware reads which device this is from the machine itself: from the device tree, as on ARM boards, or from
// DMI, as on PCs. The values are in the form that AWS IoT takes as parts of a thing's name and as its attributes.
package hardware

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

const (
	// maxValue is what is read of a file, and kept of a value: AWS IoT's names have 128 characters at most, with
	// something in front of them.
	maxValue = 96
	// maxRead is far above any of these files.
	maxRead = 4 << 10

	// application makes the hash of the machine's id gnomon's own: the id itself is confidential (machine-id(5)).
	application = "gnomon.hardware.v1"
)

// Identity is what the machine says about itself.
type Identity struct {
	// SerialNumber has letters, digits and : _ - only, which is what a thing's name may have.
	SerialNumber string
	// Model has those and . , @ / # too, which is what a thing's attribute may have; empty: unknown.
	Model string
	// Origin names the file that the serial number is from.
	Origin string
	// Note is set if the serial number is none, for people.
	Note string
}

// field is one place where a value may be.
type field struct{ path, key string } // key: of a line "key : value"; empty: the whole file

// Read looks through root, which is os.DirFS("/") for this machine. The error says what to do if nothing is found.
func Read(root fs.FS) (Identity, error) {
	model, _ := first(root, []field{
		{"proc/device-tree/model", ""},
		{"sys/firmware/devicetree/base/model", ""},
		{"sys/class/dmi/id/product_name", ""},
		{"sys/class/dmi/id/board_name", ""},
	})
	serial, origin := first(root, []field{
		{"proc/device-tree/serial-number", ""},
		{"sys/firmware/devicetree/base/serial-number", ""},
		{"proc/cpuinfo", "Serial"}, // Raspberry Pi with an old kernel
		{"sys/class/dmi/id/product_serial", ""},
		{"sys/class/dmi/id/board_serial", ""},
		{"sys/class/dmi/id/chassis_serial", ""},
		{"sys/class/dmi/id/product_uuid", ""},
	})
	id := Identity{SerialNumber: keep(serial, nameRune), Model: keep(model, attributeRune), Origin: origin}
	if id.SerialNumber != "" {
		return id, nil
	}
	machine, origin := first(root, []field{{"etc/machine-id", ""}, {"var/lib/dbus/machine-id", ""}})
	if machine == "" {
		return id, errors.New("this machine says no serial number, and has no machine id: give one with --parameter SerialNumber=VALUE")
	}
	mac := hmac.New(sha256.New, []byte(machine))
	_, _ = mac.Write([]byte(application)) // never fails
	id.SerialNumber, id.Origin = hex.EncodeToString(mac.Sum(nil)[:16]), origin
	id.Note = "this machine says no serial number that could be read, so a hash of its machine id stands for one: it " +
		"changes when the system is installed anew, and copies of an image have the same unless machine-id is emptied before"
	if denied(root) {
		id.Note += "; as root there may be one, in /sys/class/dmi/id/product_serial"
	}
	return id, nil
}

// first finds a value that means something.
func first(root fs.FS, fields []field) (value, origin string) {
	for _, f := range fields {
		data, err := read(root, f.path)
		if err != nil {
			continue
		}
		text := strings.TrimRight(string(data), "\x00 \t\r\n") // the device tree's end with NUL
		if f.key != "" {
			text = line(text, f.key)
		}
		if text = strings.TrimSpace(text); !placeholder(text) {
			return text, "/" + f.path
		}
	}
	return "", ""
}

func read(root fs.FS, path string) ([]byte, error) {
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	limit := int64(maxRead)
	if path == "proc/cpuinfo" {
		limit = 1 << 20 // the serial number stands behind what is said of each processor
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// line finds the value of "key : value".
func line(text, key string) string {
	for l := range strings.Lines(text) {
		name, value, ok := strings.Cut(l, ":")
		if ok && strings.TrimSpace(name) == key {
			return value
		}
	}
	return ""
}

// denied reports whether a serial number is there for root only.
func denied(root fs.FS) bool {
	f, err := root.Open("sys/class/dmi/id/product_serial")
	if err == nil {
		_ = f.Close()
	}
	return errors.Is(err, os.ErrPermission)
}

// placeholder reports whether a value is what makers leave there instead of one.
func placeholder(text string) bool {
	plain := strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text))
	if strings.Trim(plain, "0") == "" || strings.Trim(plain, "f") == "" || strings.Trim(plain, "x") == "" {
		return true
	}
	switch plain {
	case "none", "na", "null", "oem", "unknown", "invalid", "empty", "default", "defaultstring", "tobefilledbyoem",
		"tobefilled", "notspecified", "notapplicable", "notavailable", "notset", "systemserialnumber", "systemproductname",
		"serialnumber", "productname", "baseboardserialnumber", "boardserialnumber", "chassisserialnumber", "sernum",
		"123456789", "0123456789", "1234567890", "12345678", "1234567", "123456", "03000200040005000006000700080009":
		return true // the last is a UUID that many boards share
	}
	return false
}

// keep replaces what AWS IoT does not take by hyphens.
func keep(text string, allowed func(rune) bool) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case allowed(r):
			return r
		case r == 0 || unicode.IsControl(r):
			return -1
		}
		return '-'
	}, text)
	for strings.Contains(text, "--") {
		text = strings.ReplaceAll(text, "--", "-")
	}
	return strings.Trim(text[:min(len(text), maxValue)], "-")
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == ':' || r == '_' || r == '-'
}

func attributeRune(r rune) bool { return nameRune(r) || strings.ContainsRune(".,@/#", r) }
