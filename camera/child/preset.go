package child

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// presetWidth, presetHeight and presetRate are what presets ask for when nothing else was: a mode of nearly every
	// sensor, larger than what models look at.
	presetWidth, presetHeight = 1280, 720
	presetRate                = 30

	// maxCamera bounds the number of a camera.
	maxCamera = 63

	// jitter is how long RTSP waits for packets that are late or lost, in milliseconds. GStreamer's 2000 would make
	// every picture two seconds old.
	jitter = 200

	// stride is what rows of the ISPs of a Raspberry Pi are multiples of. rpicam-vid writes raw pictures with the gaps.
	stride = 64
)

// preset is ask with a preset's defaults.
func preset(number string, ask Ask) (int, Ask, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > maxCamera || strconv.Itoa(n) != number {
		return 0, ask, fmt.Errorf("%q is not the number of a camera; the first one is 0", number)
	}
	if ask.Width == 0 || ask.Height == 0 {
		ask.Width, ask.Height = presetWidth, presetHeight
	}
	if ask.FPS == 0 {
		ask.FPS = presetRate
	}
	return n, ask, nil
}

// planCSI is a camera on a Jetson's CSI connector: NVIDIA's Argus reads it, the VIC converts (Jetson Linux Developer
// Guide, Accelerated GStreamer), the CPU copies once.
func planCSI(number string, ask Ask) (Command, error) {
	n, ask, err := preset(number, ask)
	if err != nil {
		return Command{}, fmt.Errorf("csi: %w", err)
	}
	source := []string{
		"nvarguscamerasrc", "sensor-id=" + strconv.Itoa(n),
		"!", "video/x-raw(memory:NVMM)" + size(ask) + ",framerate=" + rate(ask.FPS),
	}
	c := pipeline(append(source, jetsonOutput(Ask{})...)...)
	c.Side, c.Format, c.Rate = true, Y4M, ask.FPS
	return c, nil
}

// jetsonOutput takes pictures out of NVIDIA's memory and writes them. The queue keeps the newest one while the pipe is
// full, so that the camera's driver never waits.
func jetsonOutput(ask Ask) []string {
	words := []string{
		"!", "nvvidconv", "!", "video/x-raw,format=I420" + size(ask),
		"!", "queue", "leaky=downstream", "max-size-buffers=1", "max-size-bytes=0", "max-size-time=0", "!", "y4menc",
	}
	return append(words, sideSink()...)
}

// planRTSP decodes H.264, H.265 or MJPEG of a network camera with the NVDEC of a Jetson. parsebin finds out which it is.
func planRTSP(uri string, ask Ask) (Command, error) {
	// It comes from the cloud as well, and must stay one word of the pipeline.
	if strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'\\`<>", r) }) {
		return Command{}, errors.New("the address has characters that no address may have; write % and two digits for them")
	}
	protocol := "tcp"
	if ask.Transport == "udp" {
		protocol = "udp"
	}
	source := []string{
		"rtspsrc", `location="` + uri + `"`, "protocols=" + protocol, "latency=" + strconv.Itoa(jitter), "drop-on-latency=true",
		"!", "application/x-rtp,media=video", "!", "parsebin", "!", "nvv4l2decoder",
	}
	c := pipeline(append(source, jetsonOutput(ask)...)...)
	c.Side, c.Format, c.Rate = true, Y4M, ask.FPS
	return c, nil
}

// planRPi is a camera of a Raspberry Pi, read by rpicam-vid, which was called libcamera-vid before 2023.
func planRPi(number string, ask Ask) (Command, error) {
	n, ask, err := preset(number, ask)
	if err != nil {
		return Command{}, fmt.Errorf("rpi: %w", err)
	}
	// Raw pictures spare the Pi coding and decoding, but only those whose rows have no gaps.
	codec, format := "yuv420", I420
	if ask.Width%stride != 0 || ask.Height%2 != 0 {
		codec, format = MJPEG, MJPEG
	}
	return Command{
		Args: []string{
			"rpicam-vid", "--camera", strconv.Itoa(n), "--codec", codec,
			"--width", strconv.Itoa(ask.Width), "--height", strconv.Itoa(ask.Height), "--framerate", strconv.FormatFloat(ask.FPS, 'f', -1, 64),
			"--timeout", "0", "--nopreview", "--flush", "--output", "-",
		},
		Instead: []string{"libcamera-vid"},
		Format:  format, Width: ask.Width, Height: ask.Height, Rate: ask.FPS,
	}, nil
}
