package month

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"gnomon/cloud/keypair"
	"gnomon/cloud/rotate"
	"gnomon/engine"
	"gnomon/shadow"
	"gnomon/telemetry"
	"gnomon/telemetry/health"
	"gnomon/telemetry/metrics"
)

type sinkFunc func(*engine.Result) error

func (f sinkFunc) Handle(r *engine.Result) error { return f(r) }

// sink publishes and counts, as the agent does with publish: every-frame.
func (d *device) sink(i int) engine.Sink {
	counts := d.registry.Source(d.sources[i])
	var buf []byte
	return sinkFunc(func(r *engine.Result) error {
		m := telemetry.DetectionMessage{
			Device: thingName, BootID: d.boot, Source: r.Source, Seq: r.Frame.Seq, CapturedAt: r.Frame.CapturedAt, Width: r.Frame.Width,
			Height: r.Frame.Height, Detections: r.Detections, Labels: r.Model.Labels, Limit: telemetry.MaxPayload,
			Model: telemetry.ModelRef{Name: r.Model.Name, Version: r.Model.Version, SHA256: r.Model.SHA256},
		}
		buf = m.AppendJSON(buf[:0])
		d.published.Add(1)
		if err := d.client.PublishClass(telemetry.Detections, "dt/gnomon/"+thingName+"/"+r.Source+"/detections", buf); err != nil {
			d.refused.Add(1)
		}
		now := d.clock.now()
		d.seen[i].Store(&now)
		o := metrics.Observation{
			At: now, Model: metrics.ModelRef(m.Model), Labels: r.Model.Labels, Detections: r.Detections,
		}
		o.Stages[metrics.Infer] = r.Timing.Infer
		counts.Observe(&o)
		return nil
	})
}

// serve is telemetry.Options.OnConnect.
func (d *device) serve(ctx context.Context, conn *telemetry.Conn) {
	d.online.Store(conn)
	d.rotation.Online(true)
	defer func() {
		d.online.CompareAndSwap(conn, nil)
		d.rotation.Online(false)
	}()
	if err := d.shadow.Serve(ctx, conn); err != nil && !errors.Is(err, telemetry.ErrDisconnected) {
		d.log.Warn("the shadow cannot be kept on this connection", zap.Error(err))
	}
}

// desired takes the desired document.
func (d *device) desired(w shadow.Desired) {
	d.deployer.Desire(w.State)
	var doc struct {
		Certificate json.RawMessage `json:"certificate"`
	}
	err := json.Unmarshal(w.State, &doc)
	var id string
	if err == nil {
		id, err = rotate.ParseDesired(doc.Certificate)
	}
	if err != nil {
		d.note(fmt.Errorf("the desired document: %w", err))
		return
	}
	d.rotation.Want(id)
}

// report tells the shadow.
func (d *device) report() {
	if d.shadow == nil || d.deployer == nil {
		return
	}
	err := d.shadow.Report(map[string]any{"models": d.deployer.Report(), "certificate": d.rotation.Status()})
	d.note(err)
}

// order has the cloud make a certificate; the connection that the product asks over must be there.
func (d *device) order(_ context.Context, csr []byte) ([]byte, error) {
	if d.online.Load() == nil {
		return nil, rotate.ErrOffline
	}
	return d.cloud.ca.answer(csr, d.life)
}

// try is a TLS connection with the new pair while the agent's own one rests.
func (d *device) try(ctx context.Context, f keypair.Files) error {
	return d.client.Rest(ctx, func(ctx context.Context) error {
		config, err := d.cloud.ca.config(f)
		if err != nil {
			return err
		}
		raw, err := d.network.dial(ctx, "tcp", cloudHost)
		if err != nil {
			return fmt.Errorf("%w: %w", rotate.ErrOffline, err)
		}
		defer raw.Close()
		if err := tls.Client(raw, config).HandshakeContext(ctx); err != nil {
			return err
		}
		time.Sleep(connectPause)
		return nil
	})
}

// document is telemetry.Options.Health.
func (d *device) document() json.RawMessage {
	if d.monitor == nil {
		return nil
	}
	doc, err := json.Marshal(d.monitor.Document())
	if err != nil {
		return nil
	}
	return doc
}

// look judges the health again and again.
func (d *device) look(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		st := d.client.Stats()
		in := health.Inputs{
			Connection: &health.Connection{Connected: st.Connected, Error: st.LastError}, Spool: &health.Spool{MaxBytes: spoolBytes},
			Clock: &health.Clock{Synchronised: true},
		}
		for _, c := range st.Classes {
			in.Spool.Bytes += uint64(c.Bytes)
			in.Spool.Dropped += c.Dropped + c.Lost
		}
		if fault := st.Spool.Fault; fault != nil {
			in.Spool.Error = fault.Error()
		}
		for i, name := range d.sources {
			source := health.Source{Name: name, State: health.Running}
			if last := d.seen[i].Load(); last != nil {
				source.Last = *last
			}
			in.Sources = append(in.Sources, source)
		}
		if cert, err := keypair.Leaf(certFiles(d.dir).CertFile); err == nil {
			in.Certificate = cert.NotAfter
		}
		doc, changed := d.monitor.Update(in)
		if !changed {
			continue
		}
		payload, err := json.Marshal(doc)
		if err == nil {
			err = d.client.PublishClass(telemetry.Events, d.topic("events"), payload)
		}
		d.note(err)
		d.log.Info("health", zap.String("status", string(doc.Status)))
	}
}

// collect is what metrics ask for.
func (d *device) collect() metrics.Inputs {
	st := d.client.Stats()
	in := metrics.Inputs{Health: string(d.monitor.Document().Status), Link: &metrics.Link{
		Connected: st.Connected, Published: st.Published, Acked: st.Acked, Dropped: st.Dropped, Queued: st.Queued, InFlight: st.InFlight,
		Reconnects: st.Reconnects,
	}}
	for i, p := range d.pipelines {
		s := p.Stats()
		in.Sources = append(in.Sources, metrics.SourceInput{Name: d.sources[i], State: "running", Captured: s.Captured, Dropped: metrics.FrameDrops{Busy: s.Dropped}})
	}
	return in
}

// frames sums up the pipelines.
func (d *device) frames() engine.Stats {
	var sum engine.Stats
	for _, p := range d.pipelines {
		sum = sum.Add(p.Stats())
	}
	return sum
}
