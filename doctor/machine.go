package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// earliest is a time that has passed: a clock before it was never set.
	earliest = 2025
	// latest is a year in which no certificate of today is valid.
	latest = 2100

	// A disk is low below 5 % if that is less than 2 GB, and below 256 MB in any case, as in the agent's health.
	diskShare  = 0.05
	diskPlenty = 2 << 30
	diskLeast  = 256 << 20
	// slowDisk is when writing a page for good takes long enough to be felt: the spool does so twenty times a second.
	slowDisk = 500 * time.Millisecond
	// probeSize is what is written to try the disk, in bytes: a page, which no file system keeps inside its tables.
	probeSize = 4096
)

// ClockOptions is what Clock looks at; nil functions stand for the system's.
type ClockOptions struct {
	Now func() time.Time
	// Synchronised reports whether something keeps the clock right, and the kernel's bound on its error.
	Synchronised func() (bool, time.Duration, error)
}

// Clock checks that the clock is set and kept right. No server is asked.
func Clock(o ClockOptions) Check {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Synchronised == nil {
		o.Synchronised = synchronised
	}
	return Check{Name: "clock", Run: func(context.Context) Finding {
		const keep = "start a time service (systemd-timesyncd, chrony) and let it reach its servers (UDP port 123): timedatectl"
		now := o.Now().UTC()
		if now.Year() < earliest || now.Year() >= latest {
			return Fail("set the clock: timedatectl set-time, or "+keep, "it is %s, at which no certificate is valid", now.Format(time.RFC3339))
		}
		on, bound, err := o.Synchronised()
		switch {
		case err != nil:
			return Warn("allow adjtimex, which only reads", "%s; the kernel does not say whether it is kept right: %v", now.Format(time.RFC3339), err)
		case !on:
			return Warn(keep, "%s, but nothing keeps it right; signatures fail when it is five minutes off", now.Format(time.RFC3339))
		}
		return Good("%s, right to %v", now.Format(time.RFC3339), bound.Round(time.Millisecond))
	}}
}

// synchronised is the kernel's view, for which no privilege is needed (adjtimex(2)).
func synchronised() (bool, time.Duration, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, 0, err
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, time.Duration(t.Maxerror) * time.Microsecond, nil
}

// Disk checks that there is room in a directory and that it can be written to. One that does not exist yet is not made.
func Disk(dir string) Check {
	return Check{Name: "disk", Run: func(context.Context) Finding { return disk(dir) }}
}

func disk(dir string) Finding {
	at := dir
	var err error
	for {
		if _, err = os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	if err != nil {
		return Fail(diskAdvice(err, at), "%v", err)
	}
	var took time.Duration
	if at == dir {
		took, err = writeProbe(dir)
	} else {
		err = unix.Access(at, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return Fail(diskAdvice(err, at), "cannot write in %s: %v", at, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return Fail(diskAdvice(err, at), "%s: %v", at, err)
	}
	block := uint64(st.Frsize)
	free, total := st.Bavail*block, st.Blocks*block
	room := fmt.Sprintf("%s: %s of %s free", dir, megabytes(free), megabytes(total))
	switch {
	case free < diskLeast, free < diskPlenty && float64(free) < diskShare*float64(total):
		return Warn("free some space, or lower telemetry.spool.max_size and models.max_size", "%s", room)
	case took > slowDisk:
		return Warn("check the disk and what else writes to it: an SD card at its end is slow before it fails", "%s, but writing 4 KB for good took %v", room, took.Round(time.Millisecond))
	case at != dir:
		return Good("%s; it is made at the first start", room)
	}
	return Good("%s, 4 KB written in %v", room, took.Round(10*time.Microsecond))
}

func megabytes(n uint64) string {
	if n >= 10e9 {
		return fmt.Sprintf("%d GB", n/1e9)
	}
	return fmt.Sprintf("%d MB", n/1e6)
}

// writeProbe writes a file for good, and removes it.
func writeProbe(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	started := time.Now()
	if _, err = f.Write(make([]byte, probeSize)); err == nil {
		err = f.Sync()
	}
	return time.Since(started), err
}

func diskAdvice(err error, dir string) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space: du -x / | sort -n"
	case errors.Is(err, syscall.EROFS):
		return "look for errors of the disk (journalctl -k) and mount it writable again"
	case errors.Is(err, syscall.EIO):
		return "look for errors of the disk (journalctl -k), and replace it if there are more"
	case errors.Is(err, fs.ErrPermission):
		return "run this as the user that the agent runs as, such as sudo -u gnomon; else chown " + dir
	case errors.Is(err, syscall.ENOTDIR):
		return "move the file away that stands in its place"
	}
	return "check the disk: journalctl -k"
}
