package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// grace is how long a program that was asked to end may take before it is killed: drivers like to be told.
	grace = 500 * time.Millisecond

	// killLimit is how long a killed program may take to be gone; only one inside the kernel takes longer.
	killLimit = 500 * time.Millisecond

	// saidLimit bounds the wait for last words when a grandchild that outlives the program holds its stderr.
	saidLimit = 200 * time.Millisecond

	// sideFile is the descriptor of a program with Command.Side that pictures go to.
	sideFile = 3
)

// process is a program in a process group of its own.
type process struct {
	cmd   *exec.Cmd
	words *tail
	done  chan struct{} // closed when it is reaped

	mu     sync.Mutex
	asked  bool // to end
	dying  bool // its process group is not ours to signal any more
	killer *time.Timer
}

// startProcess runs the program with out as its way for pictures. A goroutine attends to it until it is reaped.
func startProcess(path string, c Command, out *os.File) (*process, error) {
	p := &process{words: newTail(c.Args), done: make(chan struct{})}
	p.cmd = exec.Command(path, c.Args[1:]...)
	p.cmd.Args[0] = c.Args[0]
	p.cmd.Env = environment(os.Environ(), c.Env)
	p.cmd.Stderr, p.cmd.WaitDelay = p.words, saidLimit
	if c.Side { // whatever it prints on stdout is not a picture
		p.cmd.Stdout, p.cmd.ExtraFiles = p.words, []*os.File{out}
	} else {
		p.cmd.Stdout = out
	}
	// The kernel kills the program when we die, however that happens. It goes by the thread that started it, so that
	// thread waits for the program and stays.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		closeOnExec()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.attend()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// attend waits for the program and takes its process group with it.
func (p *process) attend() {
	// Until it is reaped, its number is that of its group and no one else's.
	for {
		err := unix.Waitid(unix.P_PID, p.id(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.signal(unix.SIGKILL, true)
	_ = p.cmd.Wait() // ended tells how it was
	close(p.done)
}

func (p *process) id() int { return p.cmd.Process.Pid }

// signal sends a signal to the whole group, the last one when last is true.
func (p *process) signal(s unix.Signal, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dying {
		return
	}
	_ = unix.Kill(-p.id(), s) // a group without processes has what we want already
	p.dying = last
	if last && p.killer != nil {
		p.killer.Stop()
	}
}

// terminate asks the program to end and has it killed if it has not after the grace. It does not wait.
func (p *process) terminate() {
	p.mu.Lock()
	asked := p.asked || p.dying
	p.asked = true
	if !asked {
		p.killer = time.AfterFunc(grace, func() { p.signal(unix.SIGKILL, false) })
	}
	p.mu.Unlock()
	if !asked {
		p.signal(unix.SIGTERM, false)
	}
}

// stop ends the program and waits for that; false: it is still there, killed and not reaped.
func (p *process) stop() bool {
	p.terminate()
	return p.wait(grace + killLimit)
}

func (p *process) wait(limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

// ended says how the program ended. One that closed its output and goes on is ended.
func (p *process) ended() string {
	if !p.wait(grace) && !p.stop() {
		return "its output is closed and it cannot be killed"
	}
	return p.cmd.ProcessState.String()
}

// said is what the program wrote to stderr last, as the end of a sentence; empty: nothing.
func (p *process) said() string {
	words := p.words.String()
	if words == "" {
		return ""
	}
	if hint := hint(words); hint != "" {
		words += " (" + hint + ")"
	}
	return "; it said: " + words
}

// cause is why the program ended, as far as its last words tell. ffmpeg, GStreamer and curl have the same for a wrong
// password.
func (p *process) cause() error {
	words := p.words.String()
	switch {
	case strings.Contains(words, "Unauthorized"):
		return ErrAuth
	case strings.Contains(words, noElement):
		return ErrMissing
	}
	return ErrEnded
}

// environment is what the program inherits: everything, as programs find their plug-ins, their libraries and their
// proxies through it, and the file of the device, which alone may name one, is trusted like its service file. Only what
// speaks to the service manager stays with us: a child must not say in our name that all is well.
func environment(ours, more []string) []string {
	var env []string
	for _, v := range ours {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES":
		default:
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// closeOnExec keeps open files from the program. Go's own never reach it, but libraries open theirs without O_CLOEXEC,
// and a video device that a child still holds stays busy after its own reader has closed it. Best effort.
func closeOnExec() {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1)
	_ = dir.Close()
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// find is the program's path.
func (c Command) find() (string, error) {
	if len(c.Args) == 0 {
		return "", errors.New("there is no program to start")
	}
	path, err := exec.LookPath(c.Args[0])
	for _, name := range c.Instead {
		if err == nil {
			break
		}
		path, err = exec.LookPath(name)
	}
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%s: %w%s", c.Args[0], ErrMissing, install(c.Args[0]))
	}
	return "", fmt.Errorf("%s cannot be started: %w", c.Args[0], err)
}
