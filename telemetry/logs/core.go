package logs

import (
	"time"

	"go.uber.org/zap/zapcore"

	"gnomon/telemetry/redact"
)

// Core is where the agent logs to, beside its other cores (zapcore.NewTee). It never blocks.
func (s *Shipper) Core() zapcore.Core { return &core{LevelEnabler: s.opts.Level, ship: s} }

type core struct {
	zapcore.LevelEnabler
	ship *Shipper
	with []zapcore.Field
}

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	more := *c
	more.with = append(c.with[:len(c.with):len(c.with)], redactFields(c.ship.opts.Redactor, fields)...)
	return &more
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core. Nobody is told of a line that is left out but the Shipper's numbers.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	s := c.ship
	if !s.limits.allow(time.Now(), &e) {
		s.limited.Add(1)
		return nil
	}
	r := record{
		source: sourceAgent, at: e.Time, level: e.Level.String(),
		message: cut(s.opts.Redactor.Text(clip(e.Message)), maxMessage), logger: s.opts.Redactor.Text(e.LoggerName),
		fields: encodeFields(s.opts.Redactor, c.with, fields),
	}
	select {
	case s.own <- r:
	default:
		s.overflow.Add(1)
	}
	if e.Level > zapcore.ErrorLevel { // the process may end with it
		s.flushSoon()
	}
	return nil
}

// Sync implements zapcore.Core. It does not wait: the end of Run hands over what there is.
func (c *core) Sync() error { return nil }

// Redacting wraps a core so that it gets messages, fields and stacks without secrets. The wrapper's Check asks the core
// only whether the level is enabled. r may be nil.
func Redacting(inner zapcore.Core, r *redact.Redactor) zapcore.Core { return &redacting{inner, r} }

type redacting struct {
	zapcore.Core
	r *redact.Redactor
}

// With implements zapcore.Core.
func (c *redacting) With(fields []zapcore.Field) zapcore.Core {
	return &redacting{c.Core.With(redactFields(c.r, fields)), c.r}
}

// Check implements zapcore.Core.
func (c *redacting) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *redacting) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message, e.Stack, e.LoggerName = c.r.Text(e.Message), c.r.Text(e.Stack), c.r.Text(e.LoggerName)
	return c.Core.Write(e, redactFields(c.r, fields))
}
