package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// analyze runs systemd-analyze on a copy of the unit whose program exists on this machine.
func analyze(t *testing.T, unit string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze, which looks at the unit, is not installed: apt-get install systemd")
	}
	file := filepath.Join(t.TempDir(), "gnomon.service")
	if err := os.WriteFile(file, []byte(strings.Replace(unit, "/usr/local/bin/gnomon", "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, append(args, file)...).CombinedOutput()
	return string(out), err
}

func unit(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("gnomon.service")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// complaints are what verify says about this unit, and not about others that it reads on the way.
func complaints(out string) (list []string) {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "gnomon.service") {
			list = append(list, line)
		}
	}
	return list
}

func TestVerify(t *testing.T) {
	text := unit(t)
	if out, err := analyze(t, text, "verify", "--man=no"); err != nil || len(complaints(out)) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	for line, wrong := range map[string]string{"OOMPolicy=continue": "OOMPolicy=perhaps", "WatchdogSec=30": "WatchdogSec=often"} {
		if out, _ := analyze(t, strings.Replace(text, line, wrong, 1), "verify", "--man=no"); len(complaints(out)) == 0 {
			t.Errorf("verify finds nothing wrong with %s: %s", wrong, out)
		}
	}
}

// TestSecurity: systemd counts what a unit is exposed to, from 0 to 10 (here times ten). 3.0 is on its safe side.
func TestSecurity(t *testing.T) {
	out, err := analyze(t, unit(t), "security", "--offline=true", "--no-pager", "--threshold=30")
	if err != nil && strings.Contains(out, "offline") {
		t.Skip("this systemd-analyze is older than 250 and cannot look at units that are not installed")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(regexp.MustCompile(`(?m)^.*Overall exposure.*$`).FindString(out))
}

// TestNeeds: what the agent cannot do without, and its promises to those who run it.
func TestNeeds(t *testing.T) {
	text := unit(t)
	for _, line := range []string{
		"StateDirectory=gnomon", // follower.go looks for it
		"OOMPolicy=continue",
		"Type=notify", // supervise.Notifier; notify-reload is too new for systemd 245
		"ExecReload=/bin/kill -HUP $MAINPID",
		"WatchdogSec=30",
		"Restart=always",
		"RestartSec=2", // safe mode counts five crashes in a minute
		"StartLimitIntervalSec=0",
		"NoNewPrivileges=yes",
		"DeviceAllow=char-video4linux rw",
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the unit does not have %s", line)
		}
	}
}
