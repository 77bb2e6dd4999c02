package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/zap"
)

const (
	// kernelRecord is room for a message and what belongs to it; the kernel refuses to read into less.
	kernelRecord = 16 << 10
	// kernelBoot is where the kernel tells which of its boots this is.
	kernelBoot = "/proc/sys/kernel/random/boot_id"
	// maxSkips is how often in a row the kernel may say that messages were overwritten.
	maxSkips = 100
)

// kernel reads the kernel's messages from a device whose form is described in the kernel's
// Documentation/ABI/testing/dev-kmsg.
type kernel struct{ device string }

func (k *kernel) run(ctx context.Context, f *feed) error {
	boot, err := os.ReadFile(kernelBoot)
	if err != nil {
		return fmt.Errorf("tell this boot from others: %w", err)
	}
	dev, err := os.OpenFile(k.device, os.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: the kernel's messages; remove logs.kernel: %w", errAbsent, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the agent may not read the kernel's messages; give its service AmbientCapabilities=CAP_SYSLOG, or set the sysctl kernel.dmesg_restrict=0: %w", err)
	case err != nil:
		return fmt.Errorf("open the kernel's messages: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = dev.Close() }) // ends a read
	defer func() {
		if stop() {
			_ = dev.Close() // was only read
		}
	}()
	return readKernel(ctx, f, dev, strings.TrimSpace(string(boot)))
}

// readKernel hands messages over. Each read from dev returns one of them.
func readKernel(ctx context.Context, f *feed, dev io.Reader, boot string) error {
	var last kernelPosition // a zero boot id: none
	f.positions.get(func(s *saved) {
		if s.Kernel != nil && s.Kernel.BootID == boot {
			last = *s.Kernel
		}
	})
	buf := make([]byte, kernelRecord)
	stream, skips := f.stream(), 0
	for {
		n, err := dev.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.EPIPE) && skips < maxSkips: // overwritten before we came; the next read goes on behind
			skips++
			continue
		case err != nil:
			return fmt.Errorf("read the kernel's messages: %w", err)
		}
		skips = 0
		r, seq, ok := parseKernel(string(buf[:n]), sinceBoot())
		if !ok || last.BootID != "" && seq <= last.Seq {
			continue
		}
		if last.BootID != "" && seq > last.Seq+1 {
			f.log.Warn("messages of the kernel were overwritten before they could be read", zap.Uint64("messages", seq-last.Seq-1))
		}
		last = kernelPosition{boot, seq}
		here := last
		if err := f.line(ctx, r, stream, func(s *saved) { s.Kernel = &here }); err != nil {
			return err
		}
	}
}

// sinceBoot is the time since the kernel started, without suspensions, as its messages have it.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// parseKernel reads "priority,sequence,microseconds,flags[,…];message" and a line feed; lines behind it, which begin with
// a space, say what the message is about. uptime is now.
func parseKernel(s string, uptime time.Duration) (r record, seq uint64, ok bool) {
	prefix, rest, found := strings.Cut(s, ";")
	fields := strings.Split(prefix, ",")
	if !found || len(fields) < 3 {
		return r, 0, false
	}
	priority, err1 := strconv.ParseUint(fields[0], 10, 32)
	seq, err2 := strconv.ParseUint(fields[1], 10, 64)
	us, err3 := strconv.ParseInt(fields[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || us < 0 {
		return r, 0, false
	}
	message, _, _ := strings.Cut(rest, "\n")
	const levels = 8 // the facility is above them
	r = record{
		at: time.Now().Add(-max(0, uptime-time.Duration(us)*time.Microsecond)), level: levelOf(strconv.FormatUint(priority%levels, 10)),
		message: unescape(message),
	}
	if priority/levels != 0 { // a program wrote it
		r.logger = "user"
	}
	return r, seq, true
}

// unescape undoes \x and two digits, which the kernel writes for bytes that cannot be printed.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if v, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
