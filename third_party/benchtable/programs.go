package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// maxOutput bounds what is kept of a program's output, in bytes: the longest, a report of gnomon bench, has a MB.
	maxOutput = 32 << 20
	// patience is how long a program may take beyond what it was asked to measure: a broker, a video, a model to load.
	patience = 3 * time.Minute
	// farewell is how long a program has to end after SIGTERM.
	farewell = 10 * time.Second
)

// limited keeps the first maxOutput bytes.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// command is a program that ends with ctx, gently.
func command(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(append(os.Environ(), quiet()...), env...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = farewell
	return c
}

// quiet switches off the telemetry in ONNX Runtime's official builds, for those peers that have none of their own to say.
func quiet() []string { return []string{"ORT_DISABLE_TELEMETRY=1", "ORT_TELEMETRY_DISABLED=1"} }

// output runs a program and returns what it printed. When it fails the error is the last line that it complained with.
func output(ctx context.Context, d time.Duration, env []string, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d+patience)
	defer cancel()
	var out, complaints limited
	c := command(ctx, env, name, args...)
	c.Stdout, c.Stderr = &out, &complaints
	if err := c.Run(); err != nil {
		return nil, because(filepath.Base(name), err, complaints.String())
	}
	return out.Bytes(), nil
}

// because words the failure of a program for the table: one line.
func because(name string, err error, complaints string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not installed", name)
	}
	lines := strings.Split(strings.TrimSpace(complaints), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return fmt.Errorf("%s: %s", name, strings.TrimPrefix(last, name+": "))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// startBroker starts a mosquitto on a free loopback port.
func (m *meter) startBroker(ctx context.Context) {
	if m.brokerErr = m.mosquitto(ctx); m.brokerErr != nil {
		m.broker = ""
	}
}

func (m *meter) mosquitto(ctx context.Context) error {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil { // Debian's place, which is not in everybody's PATH
			return errors.New("mosquitto is not installed")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a port for the broker: %w", err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := l.Close(); err != nil {
		return err
	}
	conf := filepath.Join(m.dir, "mosquitto.conf")
	if err := os.WriteFile(conf, []byte("listener "+port+" 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n"), 0o644); err != nil {
		return fmt.Errorf("configure the broker: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	c := command(ctx, nil, path, "-c", conf)
	c.Stdout, c.Stderr = io.Discard, io.Discard
	if err := c.Start(); err != nil {
		stop()
		return fmt.Errorf("start mosquitto: %w", err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Wait() }() // how it ends when told to is its own business
	m.ended = func() { stop(); <-done }
	for deadline := time.Now().Add(farewell); time.Now().Before(deadline); {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			m.broker = "mqtt://" + address
			return c.Close()
		}
		select {
		case <-done:
			return errors.New("mosquitto ended at once")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("mosquitto does not answer")
}

// video makes the sample in another size, once.
func (m *meter) video(ctx context.Context, w, h int) (string, error) {
	path := filepath.Join(m.dir, fmt.Sprintf("%dx%d.avi", w, h))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	// 20 s of MPEG-4 in good quality: what it costs to decode does not count in the rows that use it.
	_, err := output(ctx, 0, nil, "ffmpeg", "-loglevel", "error", "-nostdin", "-y", "-i", m.o.sample,
		"-t", "20", "-an", "-vf", fmt.Sprintf("scale=%d:%d", w, h), "-c:v", "mpeg4", "-q:v", "3", path)
	return path, err
}

// picture takes one out of the sample, with people in it.
func (m *meter) picture(ctx context.Context) (string, error) {
	path := filepath.Join(m.dir, "picture.png")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	_, err := output(ctx, 0, nil, "ffmpeg", "-loglevel", "error", "-nostdin", "-y", "-ss", "5", "-i", m.o.sample, "-frames:v", "1", path)
	return path, err
}

// sizeOf asks for the size of a video.
func sizeOf(ctx context.Context, path string) (w, h int, err error) {
	out, err := output(ctx, 0, nil, "ffprobe", "-loglevel", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", path)
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(string(out), "%d,%d", &w, &h); err != nil {
		return 0, 0, fmt.Errorf("ffprobe: %q is no size", out)
	}
	return w, h, nil
}
