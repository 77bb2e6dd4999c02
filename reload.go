package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/supervise"
)

const (
	// fileEvery is how often the configuration file is looked at. A file that is being written is given as long to settle.
	fileEvery = 2 * time.Second
)

// reloading reads the configuration file again when it changes or on SIGHUP, and hands what is good in it to the settings.
type reloading struct {
	path     string // empty: there is no file
	settings *fleetSettings
	log      *zap.Logger
	notifier *supervise.Notifier

	hup  chan os.Signal
	read stamp // of the file as it was read last
}

// newReloading begins to listen to SIGHUP, which would end the process otherwise, and goes on to the end of the process:
// nobody who says it while the agent ends means that. The file is about to be read, or has just been.
func newReloading(path string, settings *fleetSettings) *reloading {
	r := &reloading{path: path, settings: settings, log: zap.NewNop(), hup: make(chan os.Signal, 1)}
	if path != "" {
		signal.Notify(r.hup, syscall.SIGHUP)
		r.read = look(path)
	}
	return r
}

// stamp is what tells that a file is another.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

// look is the file's stamp; the zero one while it is not there.
func look(path string) stamp {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	s := stamp{modified: st.ModTime(), size: st.Size()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

// run reloads until ctx ends.
func (r *reloading) run(ctx context.Context) error {
	if r.path == "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(fileEvery)
	defer tick.Stop()
	seen := look(r.path)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.hup:
			r.read = look(r.path)
			seen = r.read
			r.reload()
		case <-tick.C:
			now := look(r.path)
			settled := now == seen
			seen = now
			if settled && now != r.read && now != (stamp{}) {
				r.read = now
				r.reload()
			}
		}
	}
}

// reload reads the file. One with a mistake changes nothing.
func (r *reloading) reload() {
	tell := func(say func() error) {
		if err := say(); err != nil {
			r.log.Debug("systemd is not told of the reload", zap.Error(err))
		}
	}
	tell(r.notifier.Reloading)
	defer tell(r.notifier.Ready)
	base, doc, err := config.LoadDocument(r.path)
	if err != nil {
		r.log.Error("the changed configuration is not used; what ran before goes on", zap.Error(err))
		return
	}
	r.log.Info("the configuration was read again")
	r.settings.takeFile(base, doc)
}
