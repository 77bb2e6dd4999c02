package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"gnomon/engine/ort"
)

// forgetLoading gives back what loading took and running does not need. Call it once, when everything is loaded.
func forgetLoading() {
	ort.ReleaseMemory()
	forgetOwnPages()
}

// pages is a part of this process's memory.
type pages struct{ start, end uintptr }

// forgetOwnPages lets go of those pages of the program's file that lie in memory now: what was needed to start, above all
// the packed ONNX Runtime, is not needed again. What is comes back from the file with a page fault, and the system's own
// copy of the file stays as it is. Without it 20 MB more count as this process's memory until the system is short of it.
// Where the system has no /proc nothing happens.
func forgetOwnPages() {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, p := range unwritten(f, own) {
		// An error means that the pages stay, which costs memory and nothing else.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, p.start, p.end-p.start, unix.MADV_DONTNEED)
	}
}

// unwritten are the mappings of a file in smaps (proc_pid_smaps(5)) that nobody can write to and nobody has written to:
// those whose content is that of the file. Relocated constants are not among them, as they exist in memory only.
func unwritten(smaps io.Reader, file string) []pages {
	var out []pages
	var at pages
	candidate := false
	for in := bufio.NewScanner(smaps); in.Scan(); {
		line := in.Text()
		if name, value, found := strings.Cut(line, ":"); found && !strings.Contains(name, "-") {
			if candidate && name == "Anonymous" {
				if strings.Fields(value)[0] == "0" {
					out = append(out, at)
				}
				candidate = false
			}
			continue
		}
		var perms string
		_, err := fmt.Sscanf(line, "%x-%x %s", &at.start, &at.end, &perms)
		candidate = err == nil && strings.HasSuffix(line, " "+file) && perms[0] == 'r' && perms[1] == '-' && perms[3] == 'p'
	}
	return out
}
