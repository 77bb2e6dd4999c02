package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gnomon/camera/child"
	"gnomon/cloud/params"
	"gnomon/config"
	"gnomon/telemetry"
	"gnomon/telemetry/health"
	"gnomon/telemetry/logs"
	"gnomon/telemetry/metrics"
	"gnomon/telemetry/redact"
	"gnomon/telemetry/spool"
)

// reporting is what the agent tells beside detections, and where all that it tells waits for the broker: the spool, logs,
// metrics and health. Make it before the log and the connection, which are made with it; then begin it, and end it before
// the connection ends; close it after that.
type reporting struct {
	cfg    *config.Config
	ident  identity
	secret *redact.Redactor
	began  time.Time

	spool   *spool.Spool // nil: messages wait in memory
	spooled *background
	dir     string // where the agent keeps what it has to find again; empty: nowhere

	shipper  *logs.Shipper
	shipping *switchedLevel
	send     struct { // what the shipper publishes with, once there is a connection
		sync.Mutex
		publish func(payload []byte) error
	}

	meter      *meter
	measuring  atomic.Bool
	system     *logs.System // nil: no logs but the agent's own
	parameters *params.Poller
	parts      []*background
}

// switchedLevel is a level that can be switched off.
type switchedLevel struct {
	zap.AtomicLevel
	mu  sync.Mutex
	off bool
}

// Enabled implements zapcore.LevelEnabler.
func (s *switchedLevel) Enabled(l zapcore.Level) bool {
	s.mu.Lock()
	off := s.off
	s.mu.Unlock()
	return !off && s.AtomicLevel.Enabled(l)
}

func (s *switchedLevel) enable(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = !on
}

// errNotConnected is why lines are not sent yet.
var errNotConnected = errors.New("there is no connection to send logs on yet")

// newReporting makes what the log needs. It opens no file.
func newReporting(cfg *config.Config, ident identity) (*reporting, error) {
	r := &reporting{cfg: cfg, ident: ident, secret: redact.New(secretsOf(cfg)...), began: time.Now()}
	level, err := zap.ParseAtomicLevel(string(cfg.Telemetry.Logs.Level))
	if err != nil {
		return nil, fmt.Errorf("telemetry.logs.level: %w", err)
	}
	r.shipping = &switchedLevel{AtomicLevel: level, off: !cfg.Telemetry.Logs.Enabled}
	r.shipper, err = logs.New(logs.Options{
		Device: ident.thing, BootID: ident.boot, Level: r.shipping, Rate: float64(cfg.Telemetry.Logs.Rate), Redactor: r.secret,
		Publish: func(payload []byte) error {
			r.send.Lock()
			publish := r.send.publish
			r.send.Unlock()
			if publish == nil {
				return errNotConnected
			}
			return publish(payload)
		},
	})
	return r, err
}

// secretsOf are the secrets that the process holds, to be taken out of whatever it says.
func secretsOf(cfg *config.Config) []string {
	var secrets []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Sources)) {
		src := cfg.Sources[name]
		if src.Kind() == config.KindProgram {
			secrets = append(secrets, child.Secrets(src.URI)...)
			continue
		}
		if u, err := url.Parse(src.URI); err == nil && u.User != nil {
			if password, set := u.User.Password(); set {
				secrets = append(secrets, password)
			}
		}
	}
	if path := cfg.MQTT.PasswordFile; path != "" {
		if data, err := os.ReadFile(path); err == nil { // who needs it says what is wrong with it
			line, _, _ := strings.Cut(string(data), "\n")
			secrets = append(secrets, strings.TrimSuffix(line, "\r"))
		}
	}
	return secrets
}

// logTo makes the agent's log write to core and to the cloud, both without secrets.
func (r *reporting) logTo(core zapcore.Core) *zap.Logger {
	return zap.New(zapcore.NewTee(logs.Redacting(core, r.secret), r.shipper.Core()))
}

// open opens the spool, and with it what has waited there since the last time.
func (r *reporting) open(log *zap.Logger) error {
	t := r.cfg.Telemetry
	if dir, err := stateDir("telemetry"); err == nil {
		r.dir = filepath.Join(dir, r.ident.thing)
	} else {
		log.Warn("nothing is kept for the next start; set telemetry.spool.dir for messages", zap.Error(err))
	}
	dir := t.Spool.Dir
	if dir == "" {
		dir = r.dir
		if r.cfg.MQTT.Broker == config.BrokerEmbedded { // which ends with this process
			r.dir, dir = "", config.SpoolMemory
		}
	}
	if dir == "" || dir == config.SpoolMemory {
		return nil
	}
	var err error
	r.spool, err = spool.Open(spool.Options{
		Dir: dir, MaxBytes: int64(t.Spool.MaxSize), CommitEvery: duration(t.Spool.CommitEvery), Log: log.Named("spool"),
	})
	if err != nil {
		return usage("telemetry.spool: %w", err)
	}
	s := r.spool.Stats()
	if s.Damage.Reason != "" {
		log.Error("the file with messages that were not sent is damaged and was set aside", zap.String("reason", s.Damage.Reason), zap.String("file", s.Damage.Path))
	}
	waiting := 0
	for _, c := range s.Classes {
		waiting += c.Records
	}
	if waiting > 0 {
		log.Info("messages of an earlier run wait to be sent", zap.Int("messages", waiting))
	}
	r.spooled = inBackground(r.spool.Run)
	return nil
}

// ingest are the rules that messages go to directly.
func (r *reporting) ingest() map[telemetry.Class]string {
	rules := map[telemetry.Class]string{}
	b := r.cfg.Telemetry.BasicIngest
	for class, rule := range map[telemetry.Class]string{
		telemetry.Events: b.Events, telemetry.Detections: b.Detections, telemetry.Metrics: b.Metrics, telemetry.Logs: b.Logs,
	} {
		if rule != "" {
			rules[class] = rule
		}
	}
	return rules
}

// attach makes what needs the connection.
func (r *reporting) attach(a *agent) error {
	t := r.cfg.Telemetry
	publish := func(class telemetry.Class, kind string) func([]byte) error {
		topic := a.topic(kind)
		return func(payload []byte) error { return a.mqtt.PublishClass(class, topic, payload) }
	}
	r.send.Lock()
	r.send.publish = publish(telemetry.Logs, "logs")
	r.send.Unlock()
	var err error
	o := meterOptions{
		Dir: r.dir, Every: duration(t.Metrics.Every), Listen: t.Metrics.Listen, Publish: publish(telemetry.Metrics, "metrics"),
		Namespace: t.Metrics.CloudWatchNamespace, Spool: r.waiting, Certificate: a.certificateEnd, Parameters: r.polled, Secret: r.secret, OnHealth: a.healthChanged,
	}
	if o.Namespace != "" {
		o.PublishEMF = alone(publish(telemetry.Metrics, "metrics"))
	}
	if r.meter, err = newMeter(a, o); err != nil {
		return err
	}
	l := t.Logs
	if len(l.Units) > 0 || l.Kernel || len(l.Files) > 0 {
		so := logs.SystemOptions{Units: l.Units, Kernel: l.Kernel, Files: l.Files, Rate: float64(l.Rate), Log: a.log}
		if r.dir != "" {
			if err := os.MkdirAll(r.dir, stateMode); err != nil {
				return fmt.Errorf("make the folder for what is kept: %w", err)
			}
			so.Positions = filepath.Join(r.dir, "logs.json")
		}
		if r.system, err = logs.NewSystem(r.shipper, so); err != nil {
			return usage("telemetry.logs: %w", err)
		}
	}
	if r.cfg.AWS.Parameters.Path != "" {
		dir := filepath.Dir(a.settings.file)
		r.parameters, err = newParameters(r.cfg.AWS, dir, a.aws.credentials, a.aws.client, a.settings, a.log)
	}
	return err
}

// stateMode is that of folders with what the agent has to find again.
const stateMode = 0o700

// alone keeps a message from travelling with others, which CloudWatch would not understand: only what begins as an object
// may be part of a batch, and a space before it is no less JSON.
func alone(publish func([]byte) error) func([]byte) error {
	return func(payload []byte) error { return publish(append([]byte{' '}, payload...)) }
}

// begin starts what there is to tell before cameras are watched.
func (r *reporting) begin() {
	r.parts = append(r.parts, inBackground(r.shipper.Run))
	if r.system != nil {
		r.parts = append(r.parts, inBackground(r.system.Run))
	}
	if r.parameters != nil {
		r.parts = append(r.parts, inBackground(r.parameters.Run))
	}
}

// measure starts metrics and health, once cameras are watched.
func (r *reporting) measure() {
	r.measuring.Store(true)
	r.parts = append(r.parts, inBackground(r.meter.run))
}

const (
	// endAfter is how long the parts may take to end together, such as a journalctl that does not: the connection needs the
	// rest of the 5 s.
	endAfter = time.Second
	// endLeast is what each has of it in any case.
	endLeast = 100 * time.Millisecond
)

// end stops what was started, the last first; what they still have to say is with the connection then. A part that does not
// end is left behind.
func (r *reporting) end() error {
	var errs []error
	deadline := time.Now().Add(endAfter)
	for i, p := range r.parts {
		if i > 0 { // all but the shipper, which waits for the others' last lines
			p.end()
		}
	}
	for _, p := range slices.Backward(r.parts) {
		_, err := p.stopWithin(max(endLeast, time.Until(deadline)))
		errs = append(errs, err)
	}
	r.parts = nil
	return errors.Join(errs...)
}

// close frees the rest. What waits is on the disk.
func (r *reporting) close() error {
	errs := []error{r.end(), r.spooled.stop()}
	if r.spool != nil {
		errs = append(errs, r.spool.Close())
	}
	if r.meter != nil {
		errs = append(errs, r.meter.close())
	}
	return errors.Join(errs...)
}

// waiting is the spool's part of metrics and of health; nothing without one.
func (r *reporting) waiting() (*metrics.Spool, *health.Spool) {
	if r.spool == nil {
		return nil, nil
	}
	s := r.spool.Stats()
	m := &metrics.Spool{MaxBytes: uint64(s.MaxBytes)}
	h := &health.Spool{MaxBytes: uint64(s.MaxBytes)}
	for i, c := range s.Classes {
		m.Bytes += uint64(c.Bytes)
		h.Dropped += c.Dropped + c.Lost
		m.Classes = append(m.Classes, metrics.SpoolClass{
			Name: spool.Class(i).String(), Records: uint64(c.Records), Bytes: uint64(c.Bytes), Dropped: c.Dropped + c.Lost,
		})
	}
	h.Bytes = m.Bytes
	if s.Fault != nil {
		h.Error = s.Fault.Error()
	}
	return m, h
}

// polled is the parameter store's part of health.
func (r *reporting) polled() *health.Parameters {
	if r.parameters == nil {
		return nil
	}
	s := r.parameters.Stats()
	return &health.Parameters{Fetched: s.LastSuccess, Since: r.began, Every: duration(r.cfg.AWS.Parameters.Every), Error: s.LastError}
}

// health is the document for the status; nil: nothing was judged yet.
func (r *reporting) health() json.RawMessage {
	if !r.measuring.Load() {
		return nil
	}
	doc, err := json.Marshal(r.meter.document())
	if err != nil { // cannot be: texts and numbers
		return nil
	}
	return doc
}

// apply changes a live setting.
func (r *reporting) apply(name string, t *config.Telemetry) error {
	switch name {
	case "telemetry.metrics.every":
		r.meter.setEvery(duration(t.Metrics.Every))
	case "telemetry.logs.enabled":
		r.shipping.enable(t.Logs.Enabled)
	case "telemetry.logs.rate":
		r.shipper.SetRate(float64(t.Logs.Rate))
	case "telemetry.logs.level":
		level, err := zapcore.ParseLevel(string(t.Logs.Level))
		if err != nil {
			return fmt.Errorf("telemetry.logs.level: %w", err)
		}
		r.shipping.SetLevel(level)
	}
	return nil
}
