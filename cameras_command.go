package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gnomon/camera/v4l2"
	"gnomon/config"
)

// boardTimeout bounds asking a board's own program for its cameras; a camera that does not answer hangs it.
const boardTimeout = 8 * time.Second

// cameraHost is what finding cameras needs of the machine; tests have one of their own.
type cameraHost struct {
	list func() ([]v4l2.Device, error)
	root string // of the file system
	find func(program string) (path string, err error)
	run  func(ctx context.Context, program string, args ...string) ([]byte, error)
}

func thisHost() cameraHost {
	run := func(ctx context.Context, program string, args ...string) ([]byte, error) {
		c := exec.CommandContext(ctx, program, args...)
		c.WaitDelay = time.Second
		return c.Output()
	}
	return cameraHost{list: v4l2.List, root: "/", find: exec.LookPath, run: run}
}

// foundCameras is what `gnomon cameras --json` prints.
type foundCameras struct {
	Cameras []foundCamera `json:"cameras"`
	Notes   []string      `json:"notes"`
}

// foundCamera is a camera and what to write into the configuration to have it watched.
type foundCamera struct {
	URI string `json:"uri"`
	v4l2.Device
	Error string `json:"error,omitempty"`
}

func camerasCommand() *cobra.Command { return camerasCommandOn(thisHost()) }

func camerasCommandOn(h cameraHost) *cobra.Command {
	var modes, asJSON bool
	c := &cobra.Command{
		Use:   "cameras",
		Short: "List the cameras of this machine and how to configure them",
		Long: "List the cameras that this machine has, with their best mode in each format and the line for the configuration.\n" +
			"Nothing is captured, so it may be run beside the agent. Network cameras are not looked for.",
		Example: "  gnomon cameras\n  gnomon cameras --modes",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			found, err := h.cameras(c.Context())
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(found)
			}
			renderFoundCameras(out, found, modes)
			return nil
		},
	}
	c.Flags().BoolVar(&modes, "modes", false, "show every mode of each camera")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// cameras finds them all.
func (h cameraHost) cameras(ctx context.Context) (foundCameras, error) {
	devices, err := h.list()
	if err != nil {
		return foundCameras{}, err
	}
	found := foundCameras{Cameras: []foundCamera{}, Notes: []string{}}
	usb, csi := 0, 0
	for _, d := range devices {
		if !d.Capture && d.Err == nil || ofPi(d.Driver) {
			continue
		}
		c := foundCamera{URI: d.Path, Device: d}
		switch {
		case d.Driver == "tegra-video": // raw sensor data; the Jetson's camera service makes pictures of it
			c.URI = fmt.Sprint(config.PrefixCSI, csi)
			csi++
		case len(v4l2.USB([]v4l2.Device{d})) > 0:
			c.URI = fmt.Sprint(config.PrefixUSB, usb)
			usb++
		}
		if len(d.By) > 0 && !strings.HasPrefix(c.URI, config.PrefixCSI) && strings.Contains(d.By[0], "/by-id/") {
			c.URI = d.By[0] // names this very camera, wherever it is plugged in
		}
		if d.Err != nil {
			c.Error = d.Err.Error()
		}
		found.Cameras = append(found.Cameras, c)
	}
	h.jetson(&found)
	h.pi(ctx, &found)
	h.advice(&found)
	return found, nil
}

// ofPi tells the devices of a Raspberry Pi that its camera programs put together to a camera.
func ofPi(driver string) bool {
	return slices.Contains([]string{"unicam", "rp1-cfe", "bcm2835-isp", "pispbe"}, driver)
}

// has tells whether a file is there.
func (h cameraHost) has(path string) bool {
	_, err := os.Stat(filepath.Join(h.root, path))
	return err == nil
}

// model is what the board calls itself; empty on a PC.
func (h cameraHost) model() string {
	text, err := os.ReadFile(filepath.Join(h.root, "proc/device-tree/model"))
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(text), "\x00\n")
}

// jetson says whether cameras at a Jetson's CSI connectors can be used.
func (h cameraHost) jetson(found *foundCameras) {
	nodes, _ := filepath.Glob(filepath.Join(h.root, "dev/nvhost-*")) // the pattern is right
	if len(nodes) == 0 && !h.has("etc/nv_tegra_release") && !strings.Contains(h.model(), "Jetson") {
		return
	}
	plugins, _ := filepath.Glob(filepath.Join(h.root, "usr/lib/*/gstreamer-1.0/libgstnvarguscamerasrc.so"))
	_, err := h.find("gst-launch-1.0")
	switch {
	case err != nil:
		found.note("This is a Jetson without gst-launch-1.0, which reads its CSI cameras: sudo apt install gstreamer1.0-tools")
	case len(plugins) == 0:
		found.note("This is a Jetson without nvarguscamerasrc, which reads its CSI cameras: sudo apt install nvidia-l4t-gstreamer, or start the container with NVIDIA's runtime")
	default:
		found.note("This is a Jetson: a camera at its first CSI connector is uri: csi:0, at the second csi:1.")
	}
}

// pi adds the cameras that a Raspberry Pi's own program knows.
func (h cameraHost) pi(ctx context.Context, found *foundCameras) {
	var program string
	for _, name := range []string{"rpicam-hello", "libcamera-hello"} {
		if path, err := h.find(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		if strings.Contains(h.model(), "Raspberry Pi") {
			found.note("This is a Raspberry Pi without rpicam-hello, which knows its CSI cameras: sudo apt install rpicam-apps-lite")
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, boardTimeout)
	defer cancel()
	out, err := h.run(ctx, program, "--list-cameras")
	if err != nil {
		found.note(fmt.Sprintf("%s --list-cameras failed: %v", filepath.Base(program), err))
		return
	}
	found.Cameras = append(found.Cameras, piCameras(string(out))...)
}

// piCameras reads lines such as "0 : imx708 [4608x2592 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx708@1a)".
func piCameras(out string) (cameras []foundCamera) {
	for line := range strings.Lines(out) {
		number, about, ok := strings.Cut(line, " : ")
		var n, width, height int
		if _, err := fmt.Sscanf(number, "%d", &n); err != nil || !ok {
			continue
		}
		name, rest, _ := strings.Cut(about, " [")
		c := foundCamera{URI: fmt.Sprint(config.PrefixRPi, n), Device: v4l2.Device{Name: strings.TrimSpace(name), Driver: "libcamera", Capture: true}}
		if _, err := fmt.Sscanf(rest, "%dx%d", &width, &height); err == nil {
			c.Formats = []v4l2.Format{{FourCC: "RAW", Description: "of the sensor", Sizes: []v4l2.Size{{Width: width, Height: height}}}}
		}
		if _, place, ok := strings.Cut(rest, "("); ok {
			c.Bus, _, _ = strings.Cut(place, ")")
		}
		cameras = append(cameras, c)
	}
	return cameras
}

// advice says what to check where nothing was found.
func (h cameraHost) advice(found *foundCameras) {
	if slices.ContainsFunc(found.Cameras, func(c foundCamera) bool { return c.Error == "" }) {
		return
	}
	if len(found.Cameras) == 0 {
		found.note("No camera was found. Check the cable, and what the kernel says when it is plugged in: sudo dmesg --follow")
	}
	found.note("The user must be in the group video: sudo usermod --append --groups video USER, then log in again.")
	if h.has(".dockerenv") || h.has("run/.containerenv") {
		found.note("This is a container, which sees only the cameras that it was given: --device /dev/video0 --group-add video")
	}
}

func (f *foundCameras) note(text string) { f.Notes = append(f.Notes, text) }

func renderFoundCameras(out io.Writer, found foundCameras, modes bool) {
	if len(found.Cameras) > 0 {
		t := newTable(out)
		t.AppendHeader(table.Row{"device", "name", "best modes", "configuration"})
		for _, c := range found.Cameras {
			best := c.Error
			if best == "" {
				best = strings.Join(bestModes(c.Formats), "\n")
			}
			t.AppendRow(table.Row{c.Path, c.Name, best, "uri: " + c.URI})
		}
		t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, WidthMax: 60}})
		t.Render()
	}
	if modes {
		renderModes(out, found.Cameras)
	}
	for i, note := range found.Notes {
		if i > 0 || len(found.Cameras) > 0 {
			_, _ = fmt.Fprintln(out) // a table before it could not report either
		}
		_, _ = fmt.Fprintln(out, note)
	}
}

func renderModes(out io.Writer, cameras []foundCamera) {
	for _, c := range cameras {
		if len(c.Formats) == 0 {
			continue
		}
		_, _ = fmt.Fprintln(out)
		t := newTable(out)
		t.AppendHeader(table.Row{"uri: " + c.URI, "size", "frames/s"})
		for _, f := range c.Formats {
			for _, s := range f.Sizes {
				t.AppendRow(table.Row{strings.TrimSpace(f.FourCC + " " + f.Description), sizeText(s), ratesText(s)})
			}
		}
		t.Render()
	}
}

// usefulRate is the least rate of a best mode: many cameras offer their largest size at a few frames a second only.
const usefulRate = 10

// bestModes is the largest size of each format that comes at a useful rate, or the largest of all.
func bestModes(formats []v4l2.Format) (modes []string) {
	for _, f := range formats {
		var best v4l2.Size
		rank := -1
		for _, s := range f.Sizes {
			pixels := max(s.Width, s.MaxWidth) * max(s.Height, s.MaxHeight)
			if len(s.Rates) > 0 && s.Rates[0] >= usefulRate {
				pixels += 1 << 40 // more than any size has
			}
			if pixels > rank {
				best, rank = s, pixels
			}
		}
		mode := f.FourCC
		if rank >= 0 {
			mode += " " + sizeText(best)
		}
		if len(best.Rates) > 0 {
			mode += fmt.Sprintf(" at %.4g/s", best.Rates[0])
		}
		modes = append(modes, mode)
	}
	return modes
}

func sizeText(s v4l2.Size) string {
	if s.MaxWidth == 0 {
		return fmt.Sprintf("%dx%d", s.Width, s.Height)
	}
	return fmt.Sprintf("%dx%d to %dx%d", s.Width, s.Height, s.MaxWidth, s.MaxHeight)
}

func ratesText(s v4l2.Size) string {
	var rates []string
	for _, r := range s.Rates {
		rates = append(rates, fmt.Sprintf("%.4g", r))
	}
	if s.RateRange {
		return strings.Join(rates, " to ")
	}
	return strings.Join(rates, ", ")
}
