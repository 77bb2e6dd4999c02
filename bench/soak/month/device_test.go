package month

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gnomon/cloud/keypair"
	"gnomon/cloud/rotate"
	"gnomon/engine"
	"gnomon/models/deploy"
	"gnomon/models/store"
	"gnomon/shadow"
	"gnomon/telemetry"
	"gnomon/telemetry/health"
	"gnomon/telemetry/logs"
	"gnomon/telemetry/metrics"
	"gnomon/telemetry/spool"
)

const (
	// spoolBytes holds less than a week without a network, so that some of that week is given up.
	spoolBytes = 8 << 20
	storeBytes = 8 * modelBytes
	// publishEvery and lookEvery are a minute and ten seconds in the product as well, or by choice.
	publishEvery = time.Minute
	lookEvery    = 10 * time.Second
	// connectPause is what AWS IoT wants between two connections of one client.
	connectPause = 1200 * time.Millisecond

	logName = "syslog"
	logLine = "line "
)

// device is one life of the agent's parts, from a start to an orderly end, joined as main joins them.
type device struct {
	dir     string
	logDir  string
	boot    string
	cloud   *cloud
	network *network
	clock   *clock
	life    time.Duration // of new certificates
	open    *open
	log     *zap.Logger
	sources []string

	spool     *spool.Spool
	client    *telemetry.Client
	shipper   *logs.Shipper
	system    *logs.System
	registry  *metrics.Registry
	publisher *metrics.Publisher
	monitor   *health.Monitor
	shadow    *shadow.Client
	store     *store.Store
	deployer  *deploy.Deployer
	rotation  *rotate.Rotation
	slot      *engine.Slot
	host      host
	pipelines []*engine.Pipeline

	online    atomic.Pointer[telemetry.Conn]
	published atomic.Uint64 // messages of detections
	refused   atomic.Uint64
	seen      [2]atomic.Pointer[time.Time] // when the last frame of each source was handled

	cancel [3]context.CancelFunc // of the sources, the parts, the connection and the spool
	groups [3]sync.WaitGroup
	errs   chan error
}

// files are the device's own pair.
func certFiles(dir string) keypair.Files {
	return keypair.Files{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
}

// newDevice starts a life.
func newDevice(dir, logDir string, c *cloud, n *network, k *clock, life time.Duration, o *open) (*device, error) {
	d := &device{
		dir: dir, logDir: logDir, boot: uuid.NewString(), cloud: c, network: n, clock: k, life: life, open: o, sources: []string{"front", "back"},
		errs: make(chan error, 16),
	}
	for _, make := range []func() error{d.makeTelling, d.makeClient, d.makeModels, d.makeMetrics} {
		if err := make(); err != nil {
			return nil, err
		}
	}
	return d, d.begin()
}

// makeTelling is the spool, the logs and the logger.
func (d *device) makeTelling() (err error) {
	if d.spool, err = spool.Open(spool.Options{Dir: filepath.Join(d.dir, "spool"), MaxBytes: spoolBytes, CommitEvery: spool.DefaultCommitEvery}); err != nil {
		return err
	}
	publish := func(payload []byte) error { return d.client.PublishClass(telemetry.Logs, d.topic("logs"), payload) }
	if d.shipper, err = logs.New(logs.Options{Device: thingName, BootID: d.boot, Publish: publish}); err != nil {
		return err
	}
	text := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zapcore.InfoLevel)
	d.log = zap.New(zapcore.NewTee(text, d.shipper.Core()))
	d.system, err = logs.NewSystem(d.shipper, logs.SystemOptions{
		Positions: filepath.Join(d.dir, "logs.json"), Files: []string{filepath.Join(d.logDir, logName)}, Log: d.log,
	})
	return err
}

func (d *device) topic(kind string) string { return "dt/gnomon/" + thingName + "/" + kind }

func (d *device) makeClient() (err error) {
	d.rotation, err = rotate.New(rotate.Options{
		Files: certFiles(d.dir), Thing: thingName, Order: d.order, Try: d.try, Log: d.log,
		Switched: func() { time.AfterFunc(connectPause, d.client.Reconnect) }, Report: func(rotate.Status) { d.report() },
	})
	if err != nil {
		return err
	}
	if d.shadow, err = shadow.New(shadow.Options{Thing: thingName, Name: shadowName, OnDesired: d.desired, Log: d.log}); err != nil {
		return err
	}
	f := certFiles(d.dir)
	d.client, err = telemetry.New(telemetry.Options{
		Broker: cloudURL, Thing: thingName, TopicPrefix: "dt/gnomon", CAFile: d.cloud.ca.file, CertFile: f.CertFile, KeyFile: f.KeyFile,
		QoS: 1, Spool: d.spool, Rate: telemetry.AWSRate, BootID: d.boot, AgentVersion: "soak", Health: d.document, Dial: d.network.dial,
		OnConnect: d.serve, Log: d.log,
	})
	return err
}

func (d *device) makeModels() (err error) {
	if d.store, err = store.Open(filepath.Join(d.dir, "models"), store.Options{MaxBytes: storeBytes, Log: d.log}); err != nil {
		return err
	}
	d.slot = engine.NewSlot(newModel("builtin", "", d.open))
	d.host = host{d.slot, d.open}
	d.deployer, err = deploy.New(deploy.Options{
		Store: d.store, Source: shelf{}, Host: d.host, Slots: []string{"default"}, OnChange: d.report, Log: d.log,
	})
	if err != nil {
		return err
	}
	v, err := d.deployer.Start(context.Background(), "default")
	if err != nil || v == nil {
		return err
	}
	m, err := d.host.Load(context.Background(), "default", v)
	if err != nil {
		return err
	}
	return d.host.Swap(context.Background(), "default", m)
}

func (d *device) makeMetrics() (err error) {
	d.registry, err = metrics.New(metrics.Options{
		Device: thingName, BootID: d.boot, Version: "soak", Dir: filepath.Join(d.dir, "references"), Now: d.clock.now, Log: d.log,
	})
	if err != nil {
		return err
	}
	d.publisher, err = metrics.NewPublisher(metrics.PublisherOptions{
		Registry: d.registry, Collect: d.collect, Every: publishEvery, Log: d.log,
		Publish: func(payload []byte) error {
			return d.client.PublishClass(telemetry.Metrics, d.topic("metrics"), payload)
		},
	})
	d.monitor = health.New(health.Options{Device: thingName, BootID: d.boot, Now: d.clock.now})
	return err
}

// The groups in the order in which they end.
const (
	watching = iota
	telling
	sending
)

// begin starts everything.
func (d *device) begin() error {
	var ctx [3]context.Context
	for i := range ctx {
		ctx[i], d.cancel[i] = context.WithCancel(context.Background())
	}
	run := func(group int, f func(context.Context) error) {
		d.groups[group].Go(func() {
			d.note(f(ctx[group]))
		})
	}
	spooled := context.Background() // until Close
	d.groups[sending].Go(func() { d.note(d.spool.Run(spooled)) })
	run(sending, d.client.Run)
	for _, f := range []func(context.Context) error{d.shipper.Run, d.system.Run, d.publisher.Run, d.deployer.Run, d.rotation.Run, d.look} {
		run(telling, f)
	}
	for i, name := range d.sources {
		src := &camera{name: name, open: d.open}
		p, err := engine.NewPipeline(engine.PipelineOptions{Source: src, Slot: d.slot, Sink: d.sink(i), Workers: 1})
		if err != nil {
			return err
		}
		d.pipelines = append(d.pipelines, p)
		run(watching, p.Run)
	}
	d.log.Info("watching")
	return nil
}

// note keeps an error for the end; the first ones are enough.
func (d *device) note(err error) {
	if err == nil {
		return
	}
	select {
	case d.errs <- err:
	default:
	}
}

// end is orderly: sources first, the spool last.
func (d *device) end() error {
	for _, group := range []int{watching, telling} {
		d.cancel[group]()
		d.groups[group].Wait()
	}
	d.cancel[sending]()
	d.note(d.spool.Close()) // ends its Run
	d.groups[sending].Wait()
	d.note(d.slot.Close(context.Background()))
	d.note(d.store.Close())
	close(d.errs)
	var all []error
	for err := range d.errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}
