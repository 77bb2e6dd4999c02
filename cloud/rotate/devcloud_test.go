package rotate

import (
	"context"
	"errors"
	"testing"
	"time"

	"gnomon/cloud/keypair"
	"gnomon/cloud/link"
	"gnomon/cloud/provision"
	"gnomon/devcloud"
)

// TestDevcloud rotates the certificate of a thing at a broker with AWS IoT's rules, with the thing's name as the client
// id of every connection, and then takes the old certificate away.
func TestDevcloud(t *testing.T) {
	cloud, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	served := make(chan error, 1)
	go func() { served <- cloud.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	thing, err := cloud.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	files := keypair.Files{CertFile: thing.CertFile, KeyFile: thing.KeyFile}
	dial := func(ctx context.Context, f keypair.Files) (*link.Conn, error) {
		return link.Dial(ctx, link.Options{Broker: cloud.MQTTURL(), ClientID: "cam", CAFile: cloud.CAFile(), Files: f})
	}
	var r *Rotation
	online := make(chan struct{}, 1)
	statuses := make(chan Status, 100)
	d := newDevice(t)
	d.opts.Files, d.opts.Report = files, func(s Status) { statuses <- s }
	d.opts.timing.settle, d.opts.timing.patience = time.Minute, time.Minute
	d.opts.timing.first, d.opts.timing.last = 300*time.Millisecond, 300*time.Millisecond
	d.opts.Order = func(ctx context.Context, csr []byte) ([]byte, error) {
		c, err := dial(ctx, files)
		if err != nil {
			return nil, errors.Join(ErrOffline, err)
		}
		defer c.Close()
		return provision.Order(ctx, c, devcloud.RotationTemplate, "cam", nil, csr)
	}
	d.opts.Try = func(ctx context.Context, f keypair.Files) error {
		c, err := dial(ctx, f)
		if err != nil {
			return err
		}
		return c.Close()
	}
	d.opts.Switched = func() { online <- struct{}{} }
	old, err := keypair.Leaf(files.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = New(d.opts); err != nil {
		t.Fatal(err)
	}
	r.Want("2026-11-24")
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(running) }()
	for s := (Status{}); s.State != Done; {
		select {
		case s = <-statuses:
			if s.State == Failed {
				t.Fatalf("%+v", s)
			}
		case <-online: // the agent connects with the new pair
			r.Online(true)
		case <-ctx.Done():
			t.Fatalf("it did not end: %+v", r.Status())
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s := r.Status()
	if s.Previous != keypair.ID(old) || s.Rotate != "2026-11-24" {
		t.Errorf("%+v", s)
	}
	if owner, ok := cloud.Provisioning().Owner(s.ID); !ok || owner.Thing != "cam" || !owner.Active {
		t.Errorf("the certificate in use is %+v", owner)
	}
}
