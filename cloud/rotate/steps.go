package rotate

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"go.uber.org/zap"

	"gnomon/cloud/keypair"
)

// fail ends a rotation that has not exchanged anything.
func (r *Rotation) fail(reason error) error {
	r.log.Warn("the certificate stays as it is: the new one could not be had, or does not work", zap.Error(reason))
	rec := r.rec
	rec.Step, rec.State, rec.Reason = idle, Failed, short(reason)
	return errors.Join(r.enter(rec), discard(r.files.next()))
}

// short keeps a reason to what a shadow has room for.
func short(err error) string {
	const most = 300
	text := err.Error()
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// superseded reports whether the order was taken back or replaced.
func (r *Rotation) superseded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.want != "" && r.want != r.rec.ID
}

// order gets a certificate for a new key.
func (r *Rotation) order(ctx context.Context) error {
	key, err := keypair.NewKey()
	if err == nil {
		err = keypair.Replace(r.files.next().KeyFile, key)
	}
	if err != nil {
		return r.fail(err)
	}
	csr, err := keypair.Request(key, r.opts.Thing)
	if err != nil {
		return r.fail(err)
	}
	var cert []byte
	for lost, wait := 0, r.opts.timing.first; ; wait = min(2*wait, r.opts.timing.last) {
		if cert, err = r.opts.Order(ctx, csr); err == nil {
			break
		}
		if !errors.Is(err, ErrOffline) {
			lost++
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.superseded(), lost >= maxOrders, !temporary(err):
			return r.fail(err)
		}
		r.pause(ctx, wait)
	}
	leaf, err := keypair.Belongs(cert, key)
	if err == nil {
		err = keypair.InTime("the new certificate", leaf, time.Now())
	}
	if err != nil {
		return r.fail(err)
	}
	if err := keypair.Replace(r.files.next().CertFile, cert); err != nil {
		return r.fail(err)
	}
	rec := r.rec
	rec.Step, rec.State = trying, Trying
	return r.enter(rec)
}

// try connects with the new pair, and exchanges the files if that works.
func (r *Rotation) try(ctx context.Context) error {
	refusedUntil := time.Now().Add(r.opts.timing.settle)
	for wait := r.opts.timing.first; ; wait = min(2*wait, r.opts.timing.last) {
		err := r.opts.Try(ctx, r.files.next())
		if err == nil {
			return r.exchange()
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.superseded(), !temporary(err) && time.Now().After(refusedUntil):
			return r.fail(err)
		}
		r.pause(ctx, wait)
	}
}

func (r *Rotation) exchange() error {
	rec := r.rec
	if old, err := keypair.Leaf(r.files.CertFile); err == nil {
		rec.Previous = keypair.ID(old)
	}
	rec.Step = switching
	if err := r.enter(rec); err != nil {
		return err
	}
	if err := r.files.exchange(r.opts.timing.done); err != nil {
		return err
	}
	rec.Step, rec.State = probation, Probation
	return r.switched(rec)
}

// switched enters the step that comes after other files have come into use.
func (r *Rotation) switched(rec record) error {
	r.mu.Lock()
	r.online, r.since = false, time.Now() // what was there, was with the other pair
	r.mu.Unlock()
	if err := r.enter(rec); err != nil {
		return err
	}
	if r.opts.Switched != nil {
		r.opts.Switched()
	}
	return nil
}

// watch waits until the new pair has lived. If there is no connection for long it finds out which pair is good.
func (r *Rotation) watch(ctx context.Context) error {
	r.mu.Lock()
	online, since := r.online, r.since
	r.mu.Unlock()
	left := r.opts.timing.patience - time.Since(since)
	if online {
		left = r.opts.timing.life - time.Since(since)
	}
	switch {
	case left > 0:
		r.wait(ctx, left)
		return nil
	case online:
		rec := r.rec
		rec.Step, rec.State, rec.Reason = idle, Done, ""
		r.log.Info("the new certificate is kept", zap.String("previous", rec.Previous))
		return errors.Join(r.enter(rec), discard(r.files.previous()))
	}
	err := r.opts.Try(ctx, r.files.Files)
	if err != nil && !temporary(err) && ctx.Err() == nil && r.opts.Try(ctx, r.files.previous()) == nil {
		return r.restore(err)
	}
	r.mu.Lock()
	if !r.online {
		r.since = time.Now()
	}
	r.mu.Unlock()
	return nil
}

// restore puts the old pair back.
func (r *Rotation) restore(reason error) error {
	r.log.Warn("the old certificate is used again: the new one is refused", zap.Error(reason))
	rec := r.rec
	rec.Step, rec.Reason, rec.Previous = restoring, short(reason), ""
	if err := r.enter(rec); err != nil {
		return err
	}
	if err := r.files.restore(r.opts.timing.done); err != nil {
		return err
	}
	rec.Step, rec.State = idle, Failed
	return r.switched(rec)
}

func temporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return errors.Is(err, ErrOffline) || ok && t.Temporary()
}

// pause waits between attempts. Nothing cuts it short but the end: who is told something meanwhile can wait for that.
func (r *Rotation) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d/2 + rand.N(d/2+1)) //nolint:gosec // spreads load, keeps no secret
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
