package v4l2

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The structures below have the layout of linux/videodev2.h, which is the same on all processors that Go has Linux for:
// they hold nothing that is wider than 32 bits.

// Requests, as the kernel's _IOR and _IOWR make them of the direction, the size of the structure, the letter V and a
// number.
const (
	requestCapability = 0x80685600 // VIDIOC_QUERYCAP
	requestFormat     = 0xc0405602 // VIDIOC_ENUM_FMT
	requestSize       = 0xc02c564a // VIDIOC_ENUM_FRAMESIZES
	requestInterval   = 0xc034564b // VIDIOC_ENUM_FRAMEINTERVALS
)

// Capabilities of a device.
const (
	capCapture       = 0x00000001
	capOutput        = 0x00000002
	capCapturePlanes = 0x00001000
	capOutputPlanes  = 0x00002000
	capConvertPlanes = 0x00004000 // memory to memory: a codec
	capConvert       = 0x00008000
	capOfNode        = 0x80000000 // the capabilities of this node stand beside those of the whole device
)

// Types of buffers.
const (
	bufferCapture       = 1
	bufferCapturePlanes = 9
)

// Types of sizes and intervals.
const (
	kindDiscrete   = 1
	kindContinuous = 2 // a range with steps of one
)

// capability is v4l2_capability.
type capability struct {
	Driver       [16]byte
	Card         [32]byte
	Bus          [32]byte
	Version      uint32
	Capabilities uint32
	Node         uint32
	_            [3]uint32
}

// formatDescription is v4l2_fmtdesc.
type formatDescription struct {
	Index       uint32
	Type        uint32
	Flags       uint32
	Description [32]byte
	PixelFormat uint32
	BusCode     uint32
	_           [3]uint32
}

// frameSize is v4l2_frmsizeenum. A discrete size has its width and height in the first two of Range.
type frameSize struct {
	Index       uint32
	PixelFormat uint32
	Kind        uint32
	Range       [6]uint32 // width: least, most, step; height: the same
	_           [2]uint32
}

// frameInterval is v4l2_frmivalenum. A discrete interval is the first of Range.
type frameInterval struct {
	Index       uint32
	PixelFormat uint32
	Width       uint32
	Height      uint32
	Kind        uint32
	Range       [3]fraction // shortest, longest, step
	_           [2]uint32
}

// fraction is v4l2_fract, of seconds.
type fraction struct{ Numerator, Denominator uint32 }

// maxInterrupted bounds how often a call that a signal interrupted is made again.
const maxInterrupted = 100

func host() system { return system{dev: devDir, sys: sysDir, open: openDevice} }

// file is the descriptor of a device. It is not an os.File: cameras report events that nobody here waits for.
type file int

// openDevice opens a device without waiting for it, and for asking only: that disturbs no program that captures from it.
func openDevice(path string) (control, error) {
	for range maxInterrupted {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return file(fd), nil
	}
	return nil, unix.EINTR
}

func (f file) close() error { return unix.Close(int(f)) }

func (f file) ioctl(request uint, arg any) error {
	var p unsafe.Pointer
	switch arg := arg.(type) {
	case *capability:
		p = unsafe.Pointer(arg)
	case *formatDescription:
		p = unsafe.Pointer(arg)
	case *frameSize:
		p = unsafe.Pointer(arg)
	case *frameInterval:
		p = unsafe.Pointer(arg)
	default:
		return fmt.Errorf("no structure of a driver: %T", arg)
	}
	for range maxInterrupted {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f), uintptr(request), uintptr(p))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		return nil
	}
	return unix.EINTR
}
