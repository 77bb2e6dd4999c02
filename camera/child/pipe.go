package child

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is asked of the kernel, 1 MiB being what it gives to anybody: fewer, longer reads.
	pipeSize = 1 << 20

	// tick is how often a wait for the program looks whether it is still wanted.
	tick = 50 * time.Millisecond
)

// errEnd is the end of what the program writes, in the middle of a picture or not.
var errEnd = errors.New("the output ended")

// openPipe makes a pipe that is read with deadlines and written by a program that expects to block.
func openPipe() (out, in *os.File, err error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fd[0], true); err != nil {
		_, _ = unix.Close(fd[0]), unix.Close(fd[1])
		return nil, nil, err
	}
	_, _ = unix.FcntlInt(uintptr(fd[0]), unix.F_SETPIPE_SZ, pipeSize) // or what the system allows
	return os.NewFile(uintptr(fd[0]), "pictures"), os.NewFile(uintptr(fd[1]), "pictures"), nil
}

// pipe is the reading end.
type pipe struct {
	*os.File
	raw   syscall.RawConn
	count func(uintptr) // sets bytes
	bytes int32

	ctx context.Context // of the Next in progress: input's Read has no place for it
	due time.Time
}

func newPipe(f *os.File) (*pipe, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &pipe{File: f, raw: raw}
	p.count = func(fd uintptr) {
		// Not unix.IoctlGetInt, which allocates. FIONREAD is TIOCINQ by its other name.
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, unix.TIOCINQ, uintptr(unsafe.Pointer(&p.bytes)))
	}
	if err := p.SetReadDeadline(time.Time{}); err != nil {
		return nil, err // without deadlines nobody could end a read
	}
	return p, nil
}

// begin sets for how long the following reads may wait.
func (p *pipe) begin(ctx context.Context, due time.Time) { p.ctx, p.due = ctx, due }

// ready is how many bytes can be read without waiting.
func (p *pipe) ready() int {
	p.bytes = 0
	_ = p.raw.Control(p.count) // a closed pipe has none
	return int(p.bytes)
}

// Read waits for at least one byte. A program that trickles is as late as one that is silent, but what has been written
// is read even when time is over: it may be this process that was held up.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		if err := p.ctx.Err(); err != nil {
			return 0, err
		}
		now := time.Now()
		if now.After(p.due) && p.ready() == 0 {
			return 0, ErrStalled
		}
		if p.SetReadDeadline(now.Add(tick)) != nil {
			return 0, os.ErrClosed
		}
		n, err := p.File.Read(b)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, io.EOF):
			return 0, errEnd
		case err != nil:
			return 0, err
		}
	}
}
