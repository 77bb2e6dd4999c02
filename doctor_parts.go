package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"gnomon/cloud"
	"gnomon/cloud/keypair"
	"gnomon/cloud/params"
	"gnomon/config"
	"gnomon/doctor"
	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/ort"
	"gnomon/telemetry/host"
	"gnomon/telemetry/host/nvml"
)

// Limits of the doctor's checks.
const (
	// cloudLimit is for a handshake and an answer on a mobile network, and once more.
	cloudLimit = 30 * time.Second
	// modelLimit is for loading a model on a slow board; buildLimit where TensorRT builds an engine first.
	modelLimit = 2 * time.Minute
	buildLimit = 20 * time.Minute
	// hot is in degrees Celsius: boards slow down at 80 to 97.
	hot = 80
	// maxClockOff is when AWS refuses what the device signs.
	maxClockOff = 5 * time.Minute
)

// network are the checks that need one.
func (p *patient) network(files keypair.Files) []doctor.Check {
	m, a := p.cfg.MQTT, p.cfg.AWS
	o := doctor.MQTTOptions{
		Broker: m.Broker, CAFile: m.CAFile, Files: files, Username: m.Username, PasswordFile: m.PasswordFile, ClientID: orText(m.ClientID, p.thing),
	}
	checks := []doctor.Check{
		doctor.MQTT(o),
		doctor.Connect(o),
		{Name: "credentials", Limit: cloudLimit, Run: p.credentials},
		{Name: "parameters", Limit: cloudLimit, Run: p.parameters},
	}
	reasons := []string{"", "", "", ""}
	if m.Broker == config.BrokerEmbedded {
		reasons[0], reasons[1] = "the broker is inside the program", "the broker is inside the program"
	} else if p.running.Running && !p.connect {
		reasons[1] = fmt.Sprintf("it would throw out the agent that runs (process %d); --connect does it all the same", p.running.PID)
	}
	if a.RoleAlias == "" {
		reasons[2], reasons[3] = "aws.role_alias is not set", "aws.role_alias is not set"
	} else if a.Parameters.Path == "" {
		reasons[3] = "aws.parameters.path is not set"
	}
	for i := range checks {
		if reasons[i] == "" && p.offline {
			reasons[i] = "--offline"
		}
		if reasons[i] != "" {
			checks[i] = finding(checks[i].Name, doctor.Skip("%s", reasons[i]))
		}
	}
	return checks
}

// credentials asks the credential provider, as the agent does.
func (p *patient) credentials(ctx context.Context) doctor.Finding {
	access, err := newAWSAccess(p.cfg, p.thing, zap.NewNop())
	if err != nil {
		return doctor.Fail("see the check certificate; correct the section aws", "%v", err)
	}
	got, err := access.credentials.Retrieve(ctx)
	if err != nil {
		return cloudTrouble(err, "check aws.credentials_endpoint and aws.role_alias, and the certificate's policy (iot:AssumeRoleWithCertificate)")
	}
	if c, ok := access.credentials.(*cloud.Credentials); ok && c.ClockOff().Abs() > maxClockOff {
		return doctor.Fail("set the clock; see the check clock", "the clock is %v away from AWS's, which refuses signatures then", c.ClockOff().Round(time.Second))
	}
	return doctor.Good("role alias %s, good until %s", p.cfg.AWS.RoleAlias, got.Expires.UTC().Format(time.RFC3339))
}

// parameters asks Parameter Store once.
func (p *patient) parameters(ctx context.Context) doctor.Finding {
	const do = "check aws.parameters.path and aws.region, and that the role may use ssm:GetParametersByPath on it"
	access, err := newAWSAccess(p.cfg, p.thing, zap.NewNop())
	if err != nil {
		return doctor.Fail("see the check certificate; correct the section aws", "%v", err)
	}
	a, known := p.cfg.AWS, 0
	done := make(chan struct{}, 1)
	poller, err := params.New(params.Options{
		Path: a.Parameters.Path, Every: duration(a.Parameters.Every), Region: a.Region, Endpoint: a.EndpointURL,
		Credentials: access.credentials, Client: access.client,
		OnChange: func(all []params.Parameter) { known = len(all); done <- struct{}{} },
	})
	if err != nil {
		return doctor.Fail(do, "%v", err)
	}
	asking := inBackground(poller.Run)
	defer asking.end()
	look := time.NewTicker(100 * time.Millisecond) // a failure is told nowhere else
	defer look.Stop()
	for {
		select {
		case <-done:
			return doctor.Good("%d below %s", known, a.Parameters.Path)
		case <-look.C:
			if s := poller.Stats(); s.LastError != "" {
				return doctor.Fail(do, "%s", s.LastError)
			} else if s.Polls > 0 && len(done) == 0 { // as before: there are none
				return doctor.Good("%d below %s", s.Known, a.Parameters.Path)
			}
		case <-ctx.Done():
			return doctor.Fail("check the network", "no answer from Parameter Store")
		}
	}
}

// cloudTrouble takes an error apart that says itself what to do.
func cloudTrouble(err error, do string) doctor.Finding {
	if known, ok := errors.AsType[*cloud.CredentialsError](err); ok && known.Fix != "" {
		do = known.Fix
	}
	return doctor.Fail(do, "%v", err)
}

// machine are the checks of what runs models.
func (p *patient) machine() []doctor.Check {
	limit := modelLimit
	if slices.Contains(p.cfg.Engine.Providers, ort.TensorRT) {
		limit = buildLimit
	}
	return []doctor.Check{
		{Name: "onnxruntime", Limit: cloudLimit, Run: func(context.Context) doctor.Finding { return p.engine.runtime(p.cfg.Engine) }},
		{Name: "gpu", Run: func(context.Context) doctor.Finding { return gpu(p.cfg.Engine) }},
		{Name: "temperature", Run: func(context.Context) doctor.Finding { return temperature(host.New(host.Options{}).Read()) }},
		{Name: "model", Limit: limit, Alone: true, Run: func(ctx context.Context) doctor.Finding { return p.engine.model(ctx, p.cfg) }},
	}
}

// close frees what the checks have left behind.
func (p *patient) close() {
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	if rt := p.engine.rt; rt != nil && p.engine.idle {
		_ = rt.Close() // the process ends
	}
}

// engineCheck is the runtime of two checks.
type engineCheck struct {
	mu   sync.Mutex
	rt   *ort.Runtime // nil: not loaded
	idle bool         // no check uses it
}

// runtime loads ONNX Runtime and asks for its providers.
func (e *engineCheck) runtime(cfg config.Engine) doctor.Finding {
	rt, err := openEngine(cfg, zap.NewNop())
	if err != nil {
		return doctor.Fail("correct the section engine; without engine.library the runtime inside the program is used", "%v", err)
	}
	e.mu.Lock()
	e.rt, e.idle = rt, true
	e.mu.Unlock()
	text := fmt.Sprintf("%s (%s)", rt.Version(), rt.Library())
	var missing []string
	for _, plugin := range rt.Plugins() {
		if plugin.Err != nil {
			missing = append(missing, fmt.Sprintf("plugin %s: %s", plugin.Path, firstLine(plugin.Err.Error())))
		}
	}
	for _, one := range rt.Providers() {
		if one.Err == nil {
			text += ", " + one.Name
		} else if slices.Contains(cfg.Providers, one.Name) {
			missing = append(missing, one.Name+": "+firstLine(one.Err.Error()))
		}
	}
	if len(missing) == 0 {
		return doctor.Good("%s", text)
	}
	f := doctor.Warn("see docs/providers.md; models run on the next provider meanwhile", "%s; not %s", text, strings.Join(missing, "; not "))
	if cfg.Strict {
		f.Status, f.Do = doctor.Failed, "see docs/providers.md, or remove engine.strict"
	}
	return f
}

// model loads the configured model and runs it. A model that was deployed has had its trial before it was taken.
func (e *engineCheck) model(ctx context.Context, cfg *config.Config) doctor.Finding {
	e.mu.Lock()
	rt := e.rt
	e.idle = false // until this returns, which a native call may never do
	e.mu.Unlock()
	if rt == nil {
		return doctor.Skip("without ONNX Runtime")
	}
	defer func() {
		e.mu.Lock()
		e.idle = true
		e.mu.Unlock()
	}()
	const do = "see what is known of it: gnomon models inspect FILE"
	m, err := readModel(cfg.Model.Path, cfg.Model.Manifest)
	if err != nil {
		return doctor.Fail(do, "%v", err)
	}
	var placement ort.Placement
	l := chooseLanes(1, int(cfg.Engine.Threads), true)
	began := time.Now()
	model, err := loadModel(rt, m, loadOptions{
		Lanes: l, Deadline: duration(cfg.Engine.RunTimeout), Providers: providersOf(cfg.Engine), Placed: func(p ort.Placement) { placement = p },
	})
	if err != nil {
		return doctor.Fail(do, "%v", err)
	}
	loaded := time.Since(began)
	slot := engine.NewSlot(model)
	defer func() { _ = slot.Close(ctx) }() // nothing runs
	var took time.Duration
	err = slot.Each(ctx, func(lane *engine.Lane) error {
		for range 2 { // the first run makes ready what the second one uses
			began := time.Now()
			if _, _, err := lane.Detect(ctx, greyFrame(m.Spec.Width, m.Spec.Height), []detect.Detection{}); err != nil {
				return err
			}
			took = time.Since(began)
		}
		return nil
	})
	if err != nil {
		return doctor.Fail(do, "%s does not run: %v", m.Spec.Name, err)
	}
	text := fmt.Sprintf("%s: loaded in %d ms, one picture in %.1f ms on %s", m.Spec.Name, loaded.Milliseconds(), took.Seconds()*1000, placement)
	if w := warnings(placement); len(w) > 0 {
		return doctor.Warn("see docs/providers.md", "%s; %s", text, strings.Join(w, "; "))
	}
	return doctor.Good("%s", text)
}

// gpu looks for one, which is needed only where providers want it.
func gpu(cfg config.Engine) doctor.Finding {
	o := host.Options{}
	reader, err := nvml.Open("")
	if err == nil {
		defer func() { _ = reader.Close() }() // the process ends
		o.GPUs = reader.GPUs
	}
	var names []string
	for _, g := range host.New(o).Read().GPUs {
		name := g.Name
		if g.MemoryTotal != nil {
			name += fmt.Sprintf(" with %d MB", *g.MemoryTotal>>20)
		}
		if g.Celsius != nil {
			name += fmt.Sprintf(" at %.0f °C", *g.Celsius)
		}
		names = append(names, name)
	}
	wanted := slices.Contains(cfg.Providers, ort.CUDA) || slices.Contains(cfg.Providers, ort.TensorRT)
	switch {
	case len(names) > 0:
		return doctor.Good("%s", strings.Join(names, ", "))
	case !wanted:
		return doctor.Skip("none is seen, and no provider of the configuration needs one")
	case cfg.Strict:
		return doctor.Fail("install NVIDIA's driver (nvidia-smi), or remove engine.strict", "engine.providers needs one, and none is seen")
	}
	return doctor.Warn("install NVIDIA's driver (nvidia-smi), or set engine.providers to [cpu]", "engine.providers wants one, and none is seen: models run on the CPU")
}

func temperature(s *host.Snapshot) doctor.Finding {
	hottest := host.Temperature{}
	for _, t := range s.Temperatures {
		if t.Celsius > hottest.Celsius {
			hottest = t
		}
	}
	text := "no sensor is seen"
	if hottest.Name != "" {
		text = fmt.Sprintf("%.0f °C (%s)", hottest.Celsius, hottest.Name)
	}
	const do = "cool the machine, and see that its supply is strong enough"
	switch t := s.Throttle; {
	case t != nil && len(t.Now) > 0:
		return doctor.Warn(do, "%s; the machine is slowed down: %s", text, strings.Join(t.Now, ", "))
	case hottest.Celsius >= hot:
		return doctor.Warn(do, "%s", text)
	case t != nil && len(t.SinceBoot) > 0:
		return doctor.Warn(do, "%s; it has been slowed down since it started: %s", text, strings.Join(t.SinceBoot, ", "))
	case hottest.Name == "":
		return doctor.Skip("%s", text)
	}
	return doctor.Good("%s", text)
}
