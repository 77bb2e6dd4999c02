package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyPagesThatAreTheFilesAreForgotten(t *testing.T) {
	const smaps = `00400000-00405000 r--p 00000000 fe:00 7     /usr/bin/gnomon
Rss:                  20 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
00405000-01ae4000 r-xp 00005000 fe:00 7     /usr/bin/gnomon
Anonymous:             0 kB
03a73000-03adb000 r--p 03673000 fe:00 7     /usr/bin/gnomon
Anonymous:             4 kB
03adb000-03b9b000 rw-p 036db000 fe:00 7     /usr/bin/gnomon
Anonymous:             0 kB
03b9b000-03c00000 r--s 036db000 fe:00 7     /usr/bin/gnomon
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 fe:00 8     /usr/lib/libc.so.6
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00000000 00:00 0
Anonymous:             0 kB
`
	want := []pages{{0x400000, 0x405000}, {0x405000, 0x1ae4000}}
	if diff := cmp.Diff(want, unwritten(strings.NewReader(smaps), "/usr/bin/gnomon"), cmp.AllowUnexported(pages{})); diff != "" {
		t.Error(diff)
	}
}

func TestTheProgramGoesOnAfterForgetting(t *testing.T) {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Skip("needs /proc:", err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(unwritten(f, own)) == 0 {
		t.Error("no page of the program was found")
	}
	before := residentMB()
	forgetOwnPages()
	if after := residentMB(); after >= before {
		t.Errorf("memory is %.1f MB after forgetting pages, %.1f before", after, before)
	}
}
