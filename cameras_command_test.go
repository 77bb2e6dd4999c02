package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gnomon/camera/v4l2"
)

// cameraMachine is a machine with files and programs. A program's output is what `--list-cameras` prints.
func cameraMachine(t *testing.T, devices []v4l2.Device, files map[string]string, programs map[string]string) cameraHost {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return cameraHost{
		list: func() ([]v4l2.Device, error) { return devices, nil },
		root: root,
		find: func(program string) (string, error) {
			if _, ok := programs[program]; !ok {
				return "", exec.ErrNotFound
			}
			return "/usr/bin/" + program, nil
		},
		run: func(_ context.Context, program string, args ...string) ([]byte, error) {
			if out := programs[filepath.Base(program)]; out != "" && slices.Equal(args, []string{"--list-cameras"}) {
				return []byte(out), nil
			}
			return nil, errors.New("exit status 255")
		},
	}
}

func camerasOf(t *testing.T, h cameraHost, args ...string) string {
	t.Helper()
	c, out := camerasCommandOn(h), bytes.Buffer{}
	c.SetArgs(args)
	c.SetOut(&out)
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCameras(t *testing.T) {
	modes := []v4l2.Format{
		{FourCC: "MJPG", Description: "Motion-JPEG", Sizes: []v4l2.Size{
			{Width: 640, Height: 480, Rates: []float64{30000. / 1001, 15}},
			{Width: 1920, Height: 1080, Rates: []float64{30}},
			{Width: 3840, Height: 2160, Rates: []float64{2}},
		}},
		{FourCC: "YUYV", Sizes: []v4l2.Size{{Width: 16, Height: 16, MaxWidth: 640, MaxHeight: 480, Rates: []float64{60, 1}, RateRange: true}}},
	}
	usb := func(path, bus string, by ...string) v4l2.Device {
		return v4l2.Device{Path: path, Name: "Webcam", Driver: "uvcvideo", Bus: bus, Capture: true, Formats: modes, By: by}
	}
	two := []v4l2.Device{
		usb("/dev/video2", "usb-1", "/dev/v4l/by-path/pci-1"), usb("/dev/video0", "usb-2", "/dev/v4l/by-id/usb-Webcam-index0", "/dev/v4l/by-path/pci-2"),
		usb("/dev/video4", "usb-3"),
		{Path: "/dev/video1", Name: "Webcam", Bus: "usb-2"}, // metadata
	}
	sensors := []v4l2.Device{
		{Path: "/dev/video0", Name: "vi-output, imx219 9-0010", Driver: "tegra-video", Bus: "platform:vi", Capture: true, By: []string{"/dev/v4l/by-id/x"}},
		{Path: "/dev/video1", Name: "vi-output, imx219 10-0010", Driver: "tegra-video", Bus: "platform:vi", Capture: true},
	}
	const jetson = "proc/device-tree/model"
	plugin := "usr/lib/aarch64-linux-gnu/gstreamer-1.0/libgstnvarguscamerasrc.so"
	pi := map[string]string{"proc/device-tree/model": "Raspberry Pi 5 Model B\x00"}
	for _, c := range []struct {
		name   string
		host   cameraHost
		args   []string
		has    []string
		hasNot []string
	}{
		{
			"USB", cameraMachine(t, two, nil, nil), nil,
			[]string{"uri: usb:0", "uri: /dev/v4l/by-id/usb-Webcam-index0", "uri: usb:2", "MJPG 1920x1080 at 30/s", "YUYV 16x16 to 640x480 at 60/s"},
			[]string{"/dev/video1", "3840", "29.97", "uri: usb:1", "group"},
		},
		{"modes", cameraMachine(t, two[:1], nil, nil), []string{"--modes"}, []string{"MJPG Motion-JPEG", "3840x2160", "29.97, 15", "60 to 1"}, nil},
		{
			"forbidden", cameraMachine(t, []v4l2.Device{{Path: "/dev/video0", Name: "Webcam", Err: fs.ErrPermission}}, nil, nil), nil,
			[]string{"/dev/video0", fs.ErrPermission.Error(), "group video"},
			[]string{"No camera was found", "container"},
		},
		{"none", cameraMachine(t, nil, nil, nil), nil, []string{"No camera was found", "cable", "group video"}, []string{"container", "device"}},
		{"container", cameraMachine(t, nil, map[string]string{".dockerenv": ""}, nil), nil, []string{"No camera was found", "--device /dev/video0"}, nil},
		{
			"Jetson", cameraMachine(t, sensors, map[string]string{jetson: "NVIDIA Jetson Orin Nano\x00", plugin: ""}, map[string]string{"gst-launch-1.0": ""}), nil,
			[]string{"uri: csi:0", "uri: csi:1", "This is a Jetson:"},
			[]string{"apt install", "by-id"},
		},
		{"Jetson without the plugin", cameraMachine(t, sensors, map[string]string{"etc/nv_tegra_release": ""}, map[string]string{"gst-launch-1.0": ""}), nil, []string{"without nvarguscamerasrc"}, nil},
		{"Jetson without GStreamer", cameraMachine(t, nil, map[string]string{"dev/nvhost-vi": "", plugin: ""}, nil), nil, []string{"without gst-launch-1.0", "No camera"}, nil},
		{
			"Raspberry Pi", cameraMachine(t, []v4l2.Device{{Path: "/dev/video0", Name: "unicam", Driver: "unicam", Capture: true}}, pi, map[string]string{"rpicam-hello": "Available cameras\n-----------------\n" +
				"0 : imx708 [4608x2592 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx708@1a)\n    Modes: 'SRGGB10_CSI2P' : 1536x864 [120.13 fps - (768, 432)/3072x1728 crop]\n" +
				"                             2304x1296 [56.03 fps - (0, 0)/4608x2592 crop]\n1 : ov5647 [2592x1944] (/base/soc/ov5647@36)\n"}), nil,
			[]string{"uri: rpi:0", "imx708", "RAW 4608x2592", "uri: rpi:1", "ov5647"},
			[]string{"unicam", "rpi:2", "No camera"},
		},
		{"Raspberry Pi without its programs", cameraMachine(t, nil, pi, nil), nil, []string{"rpicam-apps", "No camera"}, nil},
		{"Raspberry Pi whose program fails", cameraMachine(t, nil, pi, map[string]string{"libcamera-hello": ""}), nil, []string{"libcamera-hello --list-cameras failed", "No camera"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := camerasOf(t, c.host, c.args...)
			for _, want := range c.has {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, not := range c.hasNot {
				if strings.Contains(out, not) {
					t.Errorf("%q should not be there", not)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
	var found foundCameras
	if err := json.Unmarshal([]byte(camerasOf(t, cameraMachine(t, append(two, v4l2.Device{Path: "/dev/video9", Err: fs.ErrPermission}), nil, nil), "--json")), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Cameras) != 4 || found.Cameras[0].URI != "usb:0" || found.Cameras[0].Formats[0].Sizes[1].Rates[0] != 30 || found.Cameras[3].Error == "" {
		t.Errorf("JSON: %+v", found)
	}
	if out := camerasOf(t, cameraMachine(t, nil, nil, nil), "--json"); !strings.Contains(out, `"cameras":[]`) {
		t.Error(out)
	}
	failing := cameraHost{list: func() ([]v4l2.Device, error) { return nil, fs.ErrPermission }}
	c := camerasCommandOn(failing)
	c.SetArgs(nil)
	c.SilenceErrors, c.SilenceUsage = true, true
	if err := c.Execute(); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}
