package advisor_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"gnomon/devcloud"
	"gnomon/shadow"
	"gnomon/telemetry"
)

// TestAdvisorShadow runs gnomon's shadow over gnomon's connection, with certificates, against devcloud's broker, which
// has AWS IoT's topics, policies and versions; over a line that is cut.
func TestAdvisorShadow(t *testing.T) {
	t.Parallel()
	c, err := devcloud.NewCloud(devcloud.CloudOptions{
		Dir: filepath.Join(t.TempDir(), "cloud"), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	files, err := c.AddThing(thing)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{t: t}
	l.connect(strings.TrimPrefix(c.MQTTURL(), "mqtts://"))

	// A device of the simplest kind: it is at once what it shall be.
	var own atomic.Pointer[shadow.Client]
	s, err := shadow.New(shadow.Options{Thing: thing, OnDesired: func(d shadow.Desired) {
		if string(d.State) == "{}" {
			return
		}
		if err := own.Load().Report(d.State); err != nil {
			t.Errorf("report %s: %v", d.State, err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	own.Store(s)
	if err := s.Report(map[string]any{"model": "a"}); err != nil {
		t.Fatal(err)
	}
	o := options("mqtts://" + l.proxy.Listen)
	o.CAFile, o.CertFile, o.KeyFile = files.CAFile, files.CertFile, files.KeyFile
	o.OnConnect = func(ctx context.Context, conn *telemetry.Conn) { _ = s.Serve(ctx, conn) } // ends with the connection
	d := start(t, o)

	reported := func(want string) func() bool {
		return func() bool {
			doc, err := c.Shadows().Get(thing, "")
			var got struct {
				State struct{ Reported, Delta json.RawMessage }
			}
			return err == nil && json.Unmarshal(doc, &got) == nil && string(got.State.Reported) == want && got.State.Delta == nil
		}
	}
	desire := func(t *testing.T, model string) {
		t.Helper()
		if _, err := c.Shadows().Update(thing, "", []byte(`{"state":{"desired":{"model":"`+model+`"}}}`)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("Shadow publishes reported state", func(t *testing.T) {
		eventually(t, "the report", reported(`{"model":"a"}`))
	})
	t.Run("Shadow updates reported state", func(t *testing.T) {
		desire(t, "b")
		eventually(t, "convergence", reported(`{"model":"b"}`))
	})
	t.Run("Shadow changed while disconnected", func(t *testing.T) {
		l.down()
		eventually(t, "the loss", func() bool { return !d.Stats().Connected })
		desire(t, "c")
		l.up()
		eventually(t, "convergence", reported(`{"model":"c"}`))
	})
}
