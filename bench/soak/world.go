package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gnomon/devcloud"
)

// world is everything that runs.
type world struct {
	dir     string
	made    bool // dir is ours to remove
	metrics string
	cloud   *devcloud.Cloud
	ended   <-chan error
	cancel  context.CancelFunc
	models  []deployment
	network *proxy
	cameras []*rtspCamera
	sources map[string]string
	agent   *agent
	ledger  *ledger
	failed  bool // the folder is kept
}

// newWorld starts everything. The caller closes it, after an error too.
func newWorld(ctx context.Context, o *options) (*world, error) {
	w := &world{dir: o.keep}
	gnomon, err := filepath.Abs(o.gnomon)
	if err != nil || !fileExists(gnomon) {
		return w, errors.Join(err, fmt.Errorf("there is no %s; build it first: make build", o.gnomon))
	}
	if w.dir == "" {
		w.made = true
		w.dir, err = os.MkdirTemp("", "gnomon-soak-")
	} else {
		err = os.MkdirAll(w.dir, 0o700)
	}
	if err != nil {
		return w, err
	}
	ctx, w.cancel = context.WithCancel(ctx)
	paths := strings.Split(o.models, ",")
	var thing devcloud.Thing
	if w.cloud, thing, w.models, w.ended, err = startCloud(ctx, filepath.Join(w.dir, "cloud"), paths); err != nil {
		return w, err
	}
	if w.network, err = newProxy(strings.TrimPrefix(w.cloud.MQTTURL(), "mqtts://")); err != nil {
		return w, err
	}
	go w.network.run()
	if w.ledger, err = listen(w.cloud); err != nil {
		return w, err
	}
	if err := w.openSources(o); err != nil {
		return w, err
	}
	port, err := freePort()
	if err != nil {
		return w, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	w.metrics = "http://" + address + "/metrics"
	model, err := filepath.Abs(paths[0])
	if err != nil {
		return w, err
	}
	w.failed = true // from now on there is something to look at
	w.agent, err = startAgent(gnomon, w.dir, configuration(w.dir, thing, w.cloud, w.network.addr(), address, model, w.sources))
	return w, err
}

// openSources starts the cameras and writes the agent's sources.
func (w *world) openSources(o *options) error {
	w.sources = map[string]string{}
	for _, name := range []string{"pulled", "front", "back", "gate"} {
		port, err := freePort()
		if err != nil {
			return err
		}
		c := &rtspCamera{name: name, python: o.python, port: port, fps: o.fps}
		if err := c.start(); err != nil {
			return err
		}
		w.cameras = append(w.cameras, c)
		w.sources[name] = fmt.Sprintf("{uri: %q}", c.uri())
	}
	if !strings.Contains(o.leaveOut, "test") {
		w.sources["shapes"] = fmt.Sprintf("{uri: %q, width: 320, height: 240, fps: %d}", "test:", o.fps)
	}
	if !strings.Contains(o.leaveOut, "exec") {
		ffmpeg, err := program("ffmpeg")
		if err != nil {
			return err
		}
		command := fmt.Sprintf("exec:%s -v error -re -f lavfi -i testsrc=size=320x240:rate=%d -pix_fmt yuv420p -f yuv4mpegpipe -", ffmpeg, o.fps)
		w.sources["program"] = fmt.Sprintf("{uri: %q, format: y4m}", command)
	}
	return nil
}

// delivers waits until every source does.
func (w *world) delivers(ctx context.Context) error {
	for _, name := range sortedKeys(w.sources) {
		err := until(ctx, deliversWithin, "the source "+name, func() (bool, error) { return w.ledger.count(name) > 0, w.agent.alive() })
		if err != nil {
			return fmt.Errorf("%w; see %s", err, w.agent.log.Name())
		}
	}
	return nil
}

// measure runs the scenario and judges.
func (w *world) measure(ctx context.Context, p plan) (*result, error) {
	r := &result{At: time.Now(), Plan: p}
	s := &scenario{plan: p, begin: r.At, cloud: w.cloud, models: w.models, network: w.network, cameras: w.cameras}
	sampled := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { sampled <- w.sample(ctx, r) }()
	err := s.run(ctx)
	if ctx.Err() != nil {
		err = errors.Join(err, errors.New("the run was ended early"))
	}
	cancel()
	if err := errors.Join(err, <-sampled); err != nil {
		return nil, err
	}
	r.Events = s.events
	swaps := 0
	for _, e := range r.Events {
		if e.Kind == "swap" {
			swaps++
		}
	}
	r.Checks = append(r.Checks, check{
		What: "exchanges of models that failed", Value: fmt.Sprintf("%d of %d", s.failedSwaps, swaps), Limit: "0", Passed: swaps > 0 && s.failedSwaps == 0,
	})
	return r, w.judge(r)
}

// sample looks at the agent once a second until ctx ends.
func (w *world) sample(ctx context.Context, r *result) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := w.agent.alive(); err != nil {
			return err
		}
		s, err := look(ctx, w.agent.child.Process.Pid, w.metrics)
		if err != nil {
			return err
		}
		s.At = time.Since(r.At).Seconds()
		r.Samples = append(r.Samples, s)
	}
}

// judge ends the agent, and holds what was seen against the limits.
func (w *world) judge(r *result) error {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	var last values
	err := until(ctx, settleWithin, "everything to be sent", func() (bool, error) {
		var err error
		last, err = scrape(ctx, w.metrics)
		return err == nil && last.get("gnomon_mqtt_connected") == 1 && last.get("gnomon_mqtt_queued")+last.get("gnomon_mqtt_in_flight") < 20, w.agent.alive()
	})
	if err != nil {
		return err
	}
	took, err := w.agent.stop()
	if err != nil {
		return fmt.Errorf("stop gnomon: %w; see %s", err, w.agent.log.Name())
	}
	r.Checks = append(r.Checks, slopes(r.Samples, r.Plan.Measured)...)
	r.Checks = append(r.Checks, check{
		What: "from SIGTERM to the end", Value: took.Round(10 * time.Millisecond).String(), Limit: "≤ " + endWithin.String(), Passed: took <= endWithin,
	})
	pulls := slices.DeleteFunc(slices.Clone(r.Events), func(e event) bool { return e.Kind != "pull" })
	before := [2]time.Time{r.At.Add(-r.Plan.Warm / 2), r.At}
	for i, c := range w.cameras {
		times := w.ledger.times(c.name)
		if i == 0 {
			r.Checks = append(r.Checks, comesBack(c.name, times, pulls))
			continue
		}
		r.Checks = append(r.Checks, undisturbedBy(c.name, times, before, pulls))
	}
	for _, name := range sortedKeys(w.sources) {
		r.Checks = append(r.Checks, conserved(name, last, w.ledger.count(name))...)
		r.Rates = append(r.Rates, ratesOf(name, w.ledger.times(name), r.At, r.Plan.Measured))
	}
	again, odd := w.ledger.repeated()
	r.Checks = append(r.Checks, check{
		What: "messages that cannot be read", Value: fmt.Sprint(len(odd)), Limit: "0", Passed: len(odd) == 0, Note: fmt.Sprintf("%d came more than once", again),
	})
	r.Passed = !slices.ContainsFunc(r.Checks, func(c check) bool { return !c.Passed })
	w.failed = !r.Passed
	return nil
}

// close ends what runs.
func (w *world) close() error {
	var errs []error
	if w.agent != nil && w.agent.alive() == nil { // the run has failed, and says why
		_, err := w.agent.stop()
		errs = append(errs, err)
	}
	for _, c := range w.cameras {
		errs = append(errs, c.kill())
	}
	if w.ledger != nil {
		w.ledger.close()
	}
	if w.network != nil {
		errs = append(errs, w.network.close())
	}
	if w.cancel != nil {
		w.cancel()
	}
	if w.ended != nil {
		errs = append(errs, <-w.ended)
	}
	if w.cloud != nil {
		errs = append(errs, w.cloud.Close())
	}
	if w.made && !w.failed {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
