// Package camera is where frames come from: video files, folders of pictures, cameras and network streams, read
// with OpenCV. It also decodes, draws on and writes pictures and video for those who want to look.
//
// Everything that needs OpenCV is behind the build tag opencv, which the Makefile sets; without it the package
// compiles and every function returns ErrNoOpenCV.
package camera

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gnomon/telemetry/redact"
)

// ErrNoOpenCV is returned by everything in a build without OpenCV.
var ErrNoOpenCV = errors.New("this binary was built without OpenCV and can read no pictures; build it with `make build`")

// ErrNotMedia is wrapped by errors about a file that is neither a picture nor a video.
var ErrNotMedia = errors.New("neither a picture nor a video that can be read")

// ErrTruncated is wrapped by the error at the end of a video that ends before its header says.
var ErrTruncated = errors.New("the video ends early")

// ErrCutShort is wrapped by the error about a picture that ends too early.
var ErrCutShort = errors.New("the picture is cut short; copy or download it again")

// Errors of live sources are told apart by what they wrap: those that pass are tried again soon, ErrAuth and ErrUnsupported stay
// until somebody changes something.
var (
	// ErrAuth: the camera refuses the user or the password. Tried again and again, many cameras lock the user out.
	ErrAuth = errors.New("the camera refuses the user or the password; correct them in the source's uri")

	// ErrUnreachable: the camera does not answer, or nothing listens there.
	ErrUnreachable = errors.New("the camera cannot be reached")

	// ErrNoStream: the camera is there and has no stream of this name.
	ErrNoStream = errors.New("the camera has no stream of this name; check the path in the source's uri")

	// ErrUnsupported: what arrives, or the way in which it is asked for, is not built in.
	ErrUnsupported = errors.New("not supported")

	// ErrEnded: the camera, or a server in between, has ended the stream.
	ErrEnded = errors.New("the stream has ended")

	// ErrStalled: no picture came for longer than Options.Stall allows.
	ErrStalled = errors.New("no picture comes any more")

	// ErrGone: the device is not there, or not any more.
	ErrGone = errors.New("the camera is unplugged")

	// ErrChanged: the pictures have another size or format than at first; opened anew, the source is right again.
	ErrChanged = errors.New("the camera changed its picture")

	// ErrTooManyAbandoned: so many readers hang in calls that never return that only a restart of the process helps.
	ErrTooManyAbandoned = errors.New("too many cameras hang in their drivers; restart gnomon")
)

// Kind says what a URI names.
type Kind int

// The kinds of source.
const (
	File      Kind = iota + 1 // a video file: lossless, finite
	Folder                    // a directory of pictures, or one picture: lossless, finite
	Device                    // a video device such as /dev/video0: live
	Stream                    // rtsp, rtmp, http, …: live
	Process                   // a program that writes frames, gst: and exec: and the presets made of them: live
	Generated                 // test: moving shapes: live
)

// Live tells whether frames of this kind arrive by the clock.
func (k Kind) Live() bool { return k >= Device }

func (k Kind) String() string {
	switch k {
	case File:
		return "video file"
	case Folder:
		return "pictures"
	case Device:
		return "camera"
	case Stream:
		return "stream"
	case Process:
		return "program"
	case Generated:
		return "test picture"
	}
	return "unknown"
}

// Options describes a source.
type Options struct {
	Name string // the source's name in topics and logs
	URI  string // a path, /dev/videoN, or scheme://…
	// Files are pictures to read in this order instead of URI, which then only names them.
	Files []string

	Loop     bool // files: start again after the last frame
	Realtime bool // files: deliver at the video's own rate, not as fast as possible

	Watch bool // folders: wait for new pictures instead of ending

	Width, Height int     // cameras, presets and test: the size to ask for; 0: the camera's choice
	FPS           float64 // cameras, presets and test: the rate to ask for; 0: the camera's choice

	Format    string // devices: mjpg or yuyv; programs: what they write (camera/child); empty: automatic
	Transport string // rtsp: tcp or udp; empty: tcp, and udp when the server has no tcp
	Decoder   string // rtsp: jetson for NVIDIA's through GStreamer; empty: FFmpeg's

	Rotate int        // clockwise: 0, 90, 180 or 270 degrees
	Flip   string     // horizontal, vertical or both; empty: none. After Rotate
	Crop   [4]float64 // x, y, width and height as shares of the picture, before Rotate; zero: all of it

	Stall time.Duration // live sources: no picture for this long is a failure; 0: 2 s or three intervals, the longer
}

// devicePrefix is where Linux keeps video devices, under several names: /dev/video0, /dev/v4l/by-id/….
const devicePrefix = "/dev/"

// Classify says what a URI names, with an error for a file that does not exist or is not readable.
func Classify(uri string) (Kind, error) {
	if strings.HasPrefix(uri, devicePrefix) {
		return Device, nil
	}
	if kind := scheme(uri); kind != 0 {
		return kind, nil
	}
	if scheme, _, ok := strings.Cut(uri, "://"); ok {
		switch strings.ToLower(scheme) {
		case "rtsp", "rtmp", "http", "udp", "tcp":
			return Stream, nil
		case "https", "rtsps":
			return 0, fmt.Errorf("%s: encrypted streams are not built in; use %s, or a proxy on this machine", Redact(uri), strings.TrimSuffix(scheme, "s"))
		}
		return 0, fmt.Errorf("%s: the scheme %q is not known; use a path, /dev/videoN, rtsp://, rtmp://, http://, udp:// or tcp://", Redact(uri), scheme)
	}
	st, err := os.Stat(uri)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, fmt.Errorf("%s: no such file", uri)
	case err != nil:
		return 0, err
	case st.IsDir():
		return Folder, nil
	case !st.Mode().IsRegular():
		return 0, fmt.Errorf("%s is not a regular file", uri)
	case st.Size() == 0:
		return 0, fmt.Errorf("%s is empty (0 bytes): %w", uri, ErrNotMedia)
	case isPicture(uri):
		return Folder, nil
	}
	f, err := os.Open(uri)
	if err != nil {
		return 0, err
	}
	return File, f.Close()
}

// scheme tells what the schemes of gnomon's own mean; 0: it is none of them. usb:N is the Nth camera that can capture,
// csi:N and rpi:N are cameras of a Jetson and of a Raspberry Pi.
func scheme(uri string) Kind {
	name, _, ok := strings.Cut(uri, ":")
	if !ok {
		return 0
	}
	switch name {
	case "gst", "exec", "csi", "rpi":
		return Process
	case "usb":
		return Device
	case "test":
		return Generated
	}
	return 0
}

// isPicture goes by the first bytes: a picture with a wrong extension is still one.
func isPicture(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 12)
	n, _ := f.Read(head)
	return pictureMagic(head[:n])
}

func pictureMagic(head []byte) bool {
	for _, magic := range []string{"\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "BM"} {
		if strings.HasPrefix(string(head), magic) {
			return true
		}
	}
	return false
}

// pictureExtension tells the files that a folder source takes.
func pictureExtension(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".png", ".bmp":
		return true
	}
	return false
}

// Redact hides the user and the password of a URI, for logs and errors. It does not parse: what is no valid URL may
// hold a password too.
func Redact(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		return redact.Text(scheme + "://***" + rest[at:])
	}
	return redact.Text(uri)
}

// Pictures lists the files that a folder source reads: those of a directory by name, or the one picture.
func Pictures(uri string) ([]string, error) {
	st, err := os.Stat(uri)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return []string{uri}, nil
	}
	entries, err := os.ReadDir(uri) // sorted by name
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && pictureExtension(e.Name()) {
			files = append(files, filepath.Join(uri, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no pictures in this folder (.jpg, .jpeg, .png, .bmp): %w", uri, ErrNotMedia)
	}
	return files, nil
}
