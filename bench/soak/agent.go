package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gnomon/devcloud"
)

const (
	// endWithin is how long the agent may take to end after SIGTERM: what it promises.
	endWithin = 5 * time.Second
	// killAfter is when it is ended with force.
	killAfter = 15 * time.Second
)

// agent is the program that is tried.
type agent struct {
	child *exec.Cmd
	log   *os.File
	ended chan error // of the child, once
}

// configuration is the agent's: everything as on a device, at the sizes of a small one.
func configuration(dir string, t devcloud.Thing, c *devcloud.Cloud, broker, listen, model string, sources map[string]string) string {
	var text strings.Builder
	https := c.HTTPSURL()
	fmt.Fprintf(&text, "device: {thing: %q}\nsources:\n", t.Name)
	for _, name := range sortedKeys(sources) {
		fmt.Fprintf(&text, "  %s: %s\n", name, sources[name])
	}
	fmt.Fprintf(&text, "mqtt: {broker: %q, ca_file: %q, cert_file: %q, key_file: %q, publish: every-frame}\n", "mqtts://"+broker, t.CAFile, t.CertFile, t.KeyFile)
	fmt.Fprintf(&text, "shadow: {enabled: true}\nmodel: {path: %q}\n", model)
	fmt.Fprintf(&text, "models: {dir: %q, probation: 5s, private_addresses: true, max_slowdown: 0, min_detections: 0}\n", filepath.Join(dir, "models"))
	fmt.Fprintf(&text, "aws: {region: eu-central-1, endpoint_url: %q, credentials_endpoint: %q, role_alias: %q, ca_file: %q}\n",
		https, strings.TrimPrefix(https, "https://"), devcloud.DefaultRoleAlias, t.CAFile)
	fmt.Fprintf(&text, "telemetry: {metrics: {listen: %q}, spool: {dir: %q}}\nlog: {format: json}\n", listen, filepath.Join(dir, "spool"))
	return text.String()
}

// startAgent runs the program; its log goes to a file in dir.
func startAgent(program, dir, config string) (*agent, error) {
	path := filepath.Join(dir, "gnomon.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "gnomon.log"))
	if err != nil {
		return nil, err
	}
	a := &agent{child: exec.Command(program, "run", "--config", path), log: log, ended: make(chan error, 1)}
	a.child.Stdout, a.child.Stderr = log, log
	a.child.Env = append(os.Environ(), "STATE_DIRECTORY="+dir)
	a.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.child.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), log.Close())
	}
	go func() { a.ended <- a.child.Wait() }()
	return a, nil
}

// alive reports whether the program still runs; its end is an error then.
func (a *agent) alive() error {
	select {
	case err := <-a.ended:
		a.ended <- err
		return fmt.Errorf("gnomon ended by itself (%w); see %s", errors.Join(errors.New("unexpected"), err), a.log.Name())
	default:
		return nil
	}
}

// stop ends the program and tells how long that took.
func (a *agent) stop() (took time.Duration, err error) {
	begin := time.Now()
	if err := a.child.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case err = <-a.ended:
	case <-time.After(killAfter):
		killed := a.child.Process.Kill()
		err = errors.Join(fmt.Errorf("gnomon does not end within %v of SIGTERM", killAfter), killed, <-a.ended)
	}
	a.ended <- err
	return time.Since(begin), errors.Join(err, a.log.Close())
}

// until looks again and again whether something is so.
func until(ctx context.Context, within time.Duration, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		is, err := ok()
		if is || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited %v for %s in vain: %w", within, what, ctx.Err())
		}
	}
}
