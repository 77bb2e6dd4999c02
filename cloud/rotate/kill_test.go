package rotate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"gnomon/cloud/keypair"
)

// TestKilled ends the rotation after each step on disk; what is left is a pair, and the next start goes on.
func TestKilled(t *testing.T) {
	crash := errors.New("killed")
	for _, step := range []string{"ordering ordered", "trying trying", "switching trying", "saved", "key", "probation probation", " done"} {
		t.Run(step, func(t *testing.T) {
			d := newDevice(t)
			old := d.id()
			d.opts.timing.done = func(s string) error {
				if s == step {
					return crash
				}
				return nil
			}
			if _, err := d.run("a", Done); !errors.Is(err, crash) && step != " done" {
				t.Fatalf("was not killed: %v", err)
			}
			if err := Recover(d.files); err != nil {
				t.Fatal(err)
			}
			d.id()
			d.opts.timing.done = nil
			if s, err := d.run("a", Done); err != nil || s.Previous != old || d.id() == old || len(d.left()) != 3 {
				t.Errorf("the next start: %+v, %v, left %v", s, err, d.left())
			}
		})
	}
	for n := range 3 { // while the old pair is put back
		d := newDevice(t)
		old := d.id()
		if _, err := d.run("a", Probation); err != nil {
			t.Fatal(err)
		}
		p := pair{d.files}
		if err := p.write(record{ID: "a", Step: restoring}); err != nil {
			t.Fatal(err)
		}
		_ = p.restore(func(string) error {
			if n--; n < 0 {
				return crash
			}
			return nil
		})
		r, err := New(d.opts)
		if err != nil || d.id() != old || r.Status().State != Failed {
			t.Errorf("%v, %+v", err, r.Status())
		}
	}
}

// TestMend: even without the record there is a pair afterwards.
func TestMend(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(pair) error
	}{
		{"record lost in the middle", func(p pair) error { return errors.Join(p.exchange(stopAt("key")), keypair.Remove(p.record())) }},
		{"record damaged", func(p pair) error {
			return errors.Join(p.exchange(stopAt("key")), keypair.Replace(p.record(), []byte("{")))
		}},
		{"certificate deleted", func(p pair) error {
			return errors.Join(p.exchange(stopAt("key")), keypair.Remove(p.CertFile), keypair.Remove(p.next().CertFile))
		}},
		{"certificate damaged", func(p pair) error {
			return errors.Join(p.exchange(stopAt("")), keypair.Replace(p.CertFile, []byte("?")))
		}},
	} {
		d := newDevice(t)
		p := pair{d.files}
		d.opts.Try = func(context.Context, keypair.Files) error { return ErrOffline }
		if _, err := d.run("a", Trying); err != nil {
			t.Fatal(err)
		}
		_ = tt.damage(p)
		if err := Recover(d.files); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		d.id()
	}
}

func stopAt(step string) func(string) error {
	return func(s string) error {
		if s == step {
			return errRefused
		}
		return nil
	}
}

// rotateForEver orders one certificate after the other.
func rotateForEver(dir string) error {
	f, err := firstPair(dir)
	if err != nil {
		return err
	}
	var r *Rotation
	n := 0
	o := Options{
		Files: f, Thing: "cam", Order: sign, Try: func(context.Context, keypair.Files) error { return nil },
		Switched: func() { r.Online(true) },
		Report: func(s Status) {
			if s.State == Done || s.State == "" {
				fmt.Print(".") // TestSIGKILL waits for the first
				n++
				r.Want(fmt.Sprint(os.Getpid(), "-", n))
			}
		},
		timing: timing{first: time.Millisecond, last: time.Millisecond, life: time.Microsecond},
	}
	if r, err = New(o); err != nil {
		return err
	}
	r.Online(true)
	r.Want("begin " + fmt.Sprint(os.Getpid()))
	return r.Run(context.Background())
}

// TestSIGKILL kills a process that does nothing but rotate, again and again.
func TestSIGKILL(t *testing.T) {
	dir := t.TempDir()
	f, err := firstPair(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 12 {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), childEnv+"="+dir)
		said := bytes.Buffer{}
		child.Stderr = &said
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1))           // it is at work, or has failed
		time.Sleep(mrand.N(60 * time.Millisecond)) // the moment is what is to be random
		_ = child.Process.Kill()
		_ = child.Wait()
		if said.Len() > 0 {
			t.Fatalf("the child failed: %s", said.String())
		}
		if err := Recover(f); err != nil || !isPair(f) {
			t.Fatalf("no pair is left: %v", err)
		}
		leaf, err := keypair.Leaf(f.CertFile)
		if err != nil {
			t.Fatal(err)
		}
		seen[keypair.ID(leaf)] = true
	}
	if len(seen) < 2 {
		t.Error("nothing was rotated meanwhile: the test shows nothing")
	}
	t.Logf("%d certificates seen", len(seen))
}
