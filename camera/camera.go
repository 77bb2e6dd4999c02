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

// Kind says what a URI names.
type Kind int

// The kinds of source.
const (
	File   Kind = iota + 1 // a video file: lossless, finite
	Folder                 // a directory of pictures, or one picture: lossless, finite
	Device                 // a video device such as /dev/video0: live
	Stream                 // rtsp, rtmp, http, …: live
)

// Live tells whether frames of this kind arrive by the clock.
func (k Kind) Live() bool { return k == Device || k == Stream }

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

	Width, Height int     // devices: the size to ask for; 0: the device's choice
	FPS           float64 // devices: the rate to ask for; 0: the device's choice
}

// devicePrefix is where Linux keeps video devices, under several names: /dev/video0, /dev/v4l/by-id/….
const devicePrefix = "/dev/"

// Classify says what a URI names, with an error for a file that does not exist or is not readable.
func Classify(uri string) (Kind, error) {
	if strings.HasPrefix(uri, devicePrefix) {
		return Device, nil
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
