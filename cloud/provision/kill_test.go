package provision

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gnomon/devcloud"
)

// TestKilled ends the command after each step, and runs it again.
func TestKilled(t *testing.T) {
	crash := errors.New("killed")
	for _, tt := range []struct {
		step         string
		already      bool // the next run finds the device to have its identity
		certificates int
	}{
		{"key", false, 1},
		{"order", false, 1},
		{"register", false, 2}, // the answer was never heard: the token is used up, and another certificate has to be ordered
		{"state", true, 1},
		{"install", true, 1},
		{"try", true, 1},
	} {
		t.Run(tt.step, func(t *testing.T) {
			t.Parallel()
			f := newFactory(t, devcloud.CloudOptions{})
			f.opts.done = func(step string) error {
				if step == tt.step {
					return crash
				}
				return nil
			}
			if _, err := f.run(); !errors.Is(err, crash) {
				t.Fatalf("was not killed: %v", err)
			}
			f.opts.done = nil
			f.want("after it", tt.already, tt.certificates)
			f.want("once more", true, tt.certificates)
		})
	}
}

// TestSpent: a hook that gives no thing a second certificate stops a device whose first answer was lost; what to do
// about that is said, and helps.
func TestSpent(t *testing.T) {
	var f *factory
	f = newFactory(t, devcloud.CloudOptions{AllowProvisioning: func(string, string, map[string]string) bool {
		owner, taken := f.Provisioning().Owner(f.spent)
		return !taken || owner.Thing == ""
	}})
	crash := errors.New("killed")
	f.opts.done = func(step string) error {
		if step == "order" {
			state, err := folder{f.opts.Dir}.read()
			if err != nil {
				return err
			}
			f.spent = state.Issued.ID
		}
		if step == "register" {
			return crash
		}
		return nil
	}
	if _, err := f.run(); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	f.opts.done = nil
	if _, err := f.run(); err == nil || !strings.Contains(err.Error(), "delete the certificate "+f.spent) {
		t.Fatalf("error %v", err)
	}
	if err := f.RemoveThing("gnomon-4711"); err != nil {
		t.Fatal(err)
	}
	f.want("after that", false, 1)
}

// TestSIGKILL kills the command at whatever moment, until a run gets to its end.
func TestSIGKILL(t *testing.T) {
	f := newFactory(t, devcloud.CloudOptions{})
	data, err := json.Marshal(f.place)
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), childEnv+"="+string(data))
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(120 * time.Millisecond)) // the moment is what is to be random
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	if r, err := f.run(); err != nil || r.Thing != "gnomon-4711" {
		t.Fatalf("%+v, %v", r, err)
	}
	things, err := f.Things()
	if err != nil || len(things) != 1 {
		t.Errorf("things %v, %v", things, err)
	}
	t.Logf("%d certificates", len(f.Provisioning().Certificates("gnomon-4711")))
}
