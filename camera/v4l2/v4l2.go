// Package v4l2 lists the cameras that Linux knows (Video4Linux 2), with what they can do. It captures nothing. Pure Go,
// imports nothing of gnomon.
package v4l2

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Device is a node such as /dev/video0. One camera often has several: pictures, and data about them.
type Device struct {
	Path    string   `json:"path"`
	Name    string   `json:"name"`   // what the camera calls itself
	Driver  string   `json:"driver"` // of the kernel
	Bus     string   `json:"bus"`    // where it is plugged in, such as usb-0000:00:14.0-1
	Capture bool     `json:"capture"`
	Formats []Format `json:"formats,omitempty"` // of a capture device, in the driver's order
	By      []string `json:"by,omitempty"`      // links to Path that stay when numbers change: by-id first, then by-path
	Err     error    `json:"-"`                 // why some of this is missing
}

// Format is how pictures leave a device, and in which sizes.
type Format struct {
	FourCC      string `json:"fourcc"` // such as MJPG or YUYV
	Description string `json:"description"`
	Sizes       []Size `json:"sizes"`
}

// Size is a size of pictures, or a range of sizes, in pixels.
type Size struct {
	Width      int       `json:"width"`
	Height     int       `json:"height"`
	MaxWidth   int       `json:"max_width,omitempty"` // of a range; 0: Width x Height is the only one
	MaxHeight  int       `json:"max_height,omitempty"`
	StepWidth  int       `json:"step_width,omitempty"`
	StepHeight int       `json:"step_height,omitempty"`
	Rates      []float64 `json:"rates"`                // frames a second, highest first; of a range of sizes: at the largest
	RateRange  bool      `json:"rate_range,omitempty"` // Rates are the ends of a range
}

// USB are the cameras on a USB bus, in the order of List: the Nth is usb:N. Other devices that capture, such as the image
// processor of a board, are no cameras of their own.
func USB(devices []Device) []Device {
	var found []Device
	for _, d := range devices {
		if d.Capture && strings.HasPrefix(d.Bus, "usb-") {
			found = append(found, d)
		}
	}
	return found
}

const (
	devDir = "/dev"
	sysDir = "/sys/class/video4linux"

	// maxDevices bounds a listing; the kernel has 256 numbers for all kinds of video devices.
	maxDevices = 256
)

// List returns the machine's video devices: those that capture first, by their place on the bus, which stays the same
// from boot to boot, then by number. Devices that cannot be opened are listed with an error. A machine without any is
// no error.
func List() ([]Device, error) { return host().list() }

// system is what a listing needs of the machine; tests have one of their own.
type system struct {
	dev, sys string // devDir and sysDir
	open     func(path string) (control, error)
}

// control is an open device.
type control interface {
	// ioctl passes one of the structures of this package to the driver.
	ioctl(request uint, arg any) error
	close() error
}

func (s system) list() ([]Device, error) {
	entries, err := os.ReadDir(s.dev)
	if err != nil {
		return nil, fmt.Errorf("list the video devices: %w", err)
	}
	links := s.links()
	var devices []Device
	for _, e := range entries {
		if number(e.Name()) < 0 || len(devices) == maxDevices {
			continue
		}
		d := Device{Path: filepath.Join(s.dev, e.Name()), By: links[e.Name()]}
		d.Err = s.inspect(&d)
		if d.Name == "" {
			d.Name = s.sysName(e.Name())
		}
		devices = append(devices, d)
	}
	slices.SortFunc(devices, func(a, b Device) int {
		if a.Capture != b.Capture {
			if a.Capture {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Bus, b.Bus), number(filepath.Base(a.Path))-number(filepath.Base(b.Path)))
	})
	return devices, nil
}

// number is the N of videoN, or -1.
func number(name string) int {
	digits, ok := strings.CutPrefix(name, "video")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil {
		return -1
	}
	return int(n)
}

// sysName is what a device is called where it could not be asked.
func (s system) sysName(node string) string {
	name, err := os.ReadFile(filepath.Join(s.sys, node, "name"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

// links are the names that udev gives to devices, by node.
func (s system) links() map[string][]string {
	links := map[string][]string{}
	for _, dir := range []string{"by-id", "by-path"} {
		dir = filepath.Join(s.dev, "v4l", dir)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there are none without udev
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if target, err := os.Readlink(path); err == nil {
				node := filepath.Base(target)
				links[node] = append(links[node], path)
			}
		}
	}
	return links
}

// openError says what keeps us from a device.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened; add the user to the group video: %w", path, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s was unplugged, or its driver is gone: %w", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}
