package logs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
)

func TestParseKernel(t *testing.T) {
	for _, row := range []struct {
		in, level, message, logger string
		seq                        uint64
		ok                         bool
	}{
		{"6,339,5140900,-;NET: Registered PF_INET\n SUBSYSTEM=net\n DEVICE=+x\n", "info", "NET: Registered PF_INET", "", 339, true},
		{"3,1,0,c,caller=T1;a;b, c\n", "error", "a;b, c", "", 1, true},
		{"12,18446744073709551615,1,-;systemd: x\\x09y\\x5c \\xzz \\x4", "warn", "systemd: x\ty\\ \\xzz \\x4", "user", 1<<64 - 1, true},
		{"7,2,3,-;", "debug", "", "", 2, true},
		{"7,2,3,-", "", "", "", 0, false},
		{"7,2;x", "", "", "", 0, false},
		{"x,2,3,-;x", "", "", "", 0, false},
		{"7,-2,3,-;x", "", "", "", 0, false},
		{"7,2,-3,-;x", "", "", "", 0, false},
		{"", "", "", "", 0, false},
	} {
		r, seq, ok := parseKernel(row.in, 10*time.Second)
		if r.level != row.level || r.message != row.message || r.logger != row.logger || seq != row.seq || ok != row.ok {
			t.Errorf("%q: %+v %d %v", row.in, r, seq, ok)
		}
	}
	r, _, _ := parseKernel("6,1,4000000,-;x", 10*time.Second)
	if ago := time.Since(r.at); ago < 6*time.Second || ago > 8*time.Second {
		t.Errorf("%v ago", ago)
	}
}

// script is a device that answers each read with the next of some messages or errors, and then with io.EOF.
type script struct{ answers []any }

func (s *script) Read(p []byte) (int, error) {
	if len(s.answers) == 0 {
		return 0, io.EOF
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	if err, ok := next.(error); ok {
		return 0, err
	}
	return copy(p, next.(string)), nil
}

// Messages that were overwritten are told, those that were handed over don't come again in this boot, and do in another.
func TestKernelPositions(t *testing.T) {
	h := newHost(t)
	s := newShipper(t, h.c, Options{Level: zapcore.WarnLevel})
	p, err := openPositions(h.opts.Positions)
	h.must(err)
	f := &feed{ship: s, positions: p, source: "kernel", limit: rate.NewLimiter(rate.Inf, 1), log: h.opts.Log}
	stop := background(t, s.Run)
	read := func(boot string, answers ...any) {
		t.Helper()
		if err := readKernel(t.Context(), f, &script{answers}, boot); !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		until(t, "all is handed over", p.idle)
	}
	read("boot-a", "3,10,1,-;ten", "nonsense", "6,11,1,-;below the level", "3,12,1,-;twelve", error(syscall.EPIPE), "3,20,1,-;twenty rtsp://u:pw1@h")
	read("boot-a", "3,19,1,-;nineteen", "3,20,1,-;twenty", "3,21,1,-;twenty-one")
	read("boot-b", "3,1,1,-;one")
	if got := h.c.messages(); !slices.Equal(got, []string{"ten", "twelve", "twenty rtsp://***@h", "twenty-one", "one"}) {
		t.Errorf("%q", got)
	}
	if lost := h.log.FilterMessageSnippet("overwritten").All(); len(lost) != 1 || lost[0].ContextMap()["messages"] != uint64(7) {
		t.Errorf("%v", lost)
	}
	h.must(p.save())
	if k := h.saved().Kernel; k == nil || k.BootID != "boot-b" || k.Seq != 1 {
		t.Errorf("%+v", k)
	}
	h.must(stop())
}

// The real kernel's messages arrive, and once only.
func TestRealKernel(t *testing.T) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("only root may write to the kernel's messages: ", err)
	}
	defer func() { _ = f.Close() }()
	say := func(text string) {
		if _, err := fmt.Fprintf(f, "<12>%s\n", text); err != nil { // a warning of a program
			t.Skip("the kernel takes no messages: ", err)
		}
	}
	unique := time.Now().UnixNano()
	first, second := fmt.Sprint("gnomon's test: one of ", unique), fmt.Sprint("gnomon's test: two of ", unique)
	h := newHost(t)
	h.opts.Kernel = true
	say(first)
	h.start()
	has := func(text string) (n int) {
		for _, m := range h.c.messages() {
			if m == text {
				n++
			}
		}
		return n
	}
	until(t, "the first message", func() bool { return has(first) == 1 })
	h.stop()
	say(second)
	h.start()
	until(t, "the second message", func() bool { return has(second) == 1 })
	h.stop()
	if has(first) != 1 {
		t.Error("the first one came again")
	}
	l := h.c.seen()[len(h.c.seen())-1]
	at, err := time.Parse(time.RFC3339Nano, l.Time)
	if l.Source != "kernel" || l.Level != "warn" || l.Logger != "user" || err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestKernelAbsent(t *testing.T) {
	h := newHost(t)
	h.opts.Kernel = true
	h.edit = func(y *System) { y.kernelDevice = h.path("none") }
	h.start()
	until(t, "word of it", func() bool { return h.log.FilterMessageSnippet("going on without it").Len() == 1 })
}

func FuzzParseKernel(f *testing.F) {
	f.Add("6,339,5140900,-;NET: Registered PF_INET\n SUBSYSTEM=net\n")
	f.Add(`12,1,1,-;\x41\x`)
	f.Fuzz(func(t *testing.T, s string) {
		r, _, ok := parseKernel(s, time.Hour)
		if ok && (len(r.message) > len(s) || r.level == "") {
			t.Errorf("%q: %+v", s, r)
		}
	})
}
