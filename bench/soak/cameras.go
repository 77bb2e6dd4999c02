package main

import (
	"bufio"
	_ "embed" // for the script
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed testdata/rtsp.py
var rtspScript string

// readyWithin is how long a server may take to listen.
const readyWithin = 20 * time.Second

// rtspCamera is a program of its own, so that its plug can be pulled. It is for one goroutine.
type rtspCamera struct {
	name   string
	python string
	port   int
	fps    int
	child  *exec.Cmd // nil: not running
}

func (c *rtspCamera) uri() string { return fmt.Sprintf("rtsp://127.0.0.1:%d/camera", c.port) }

// start returns when the server listens.
func (c *rtspCamera) start() error {
	child := exec.Command(c.python, "-c", rtspScript, strconv.Itoa(c.port), strconv.Itoa(c.fps))
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	said := &strings.Builder{}
	child.Stderr = said
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		return fmt.Errorf("start the camera %s: %w", c.name, err)
	}
	c.child = child
	ready := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err == nil && line != "ready\n" {
			err = fmt.Errorf("it said %q", line)
		}
		ready <- err
		_, _ = io.Copy(io.Discard, out) // until it ends
	}()
	select {
	case err = <-ready:
	case <-time.After(readyWithin):
		err = fmt.Errorf("it does not listen within %v", readyWithin)
	}
	if err != nil {
		_ = c.kill() // the error that matters is the first one
		return fmt.Errorf("start the camera %s: %w: %s; it needs GStreamer's RTSP server with its Python bindings", c.name, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// kill ends the server at once, as if its plug had been pulled. Its port stays the camera's.
func (c *rtspCamera) kill() error {
	if c.child == nil {
		return nil
	}
	err := c.signal(syscall.SIGKILL)
	var ended *exec.ExitError
	if e := c.child.Wait(); !errors.As(e, &ended) { // it was killed, which is an error of this kind
		err = errors.Join(err, e)
	}
	c.child = nil
	return err
}

func (c *rtspCamera) signal(s syscall.Signal) error {
	if err := syscall.Kill(-c.child.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("the camera %s: %w", c.name, err)
	}
	return nil
}

// freePort is one that nobody listens on now. Another program may take it before it is used.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
	return port, l.Close()
}

// program finds a program, or says that it is needed.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is needed: %w", name, err)
	}
	return path, nil
}

// fileExists reports whether a path is a file.
func fileExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
