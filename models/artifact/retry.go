package artifact

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	maxAttempts = 5 // in a row without a new byte; whoever called tries again later, with longer pauses
	firstPause  = 500 * time.Millisecond
	maxPause    = 30 * time.Second
)

var (
	errStalled = errors.New("no byte came for too long")
	// errChanged: the object is not the one whose first bytes are on disk. It is fetched from its beginning.
	errChanged = errors.New("the object changed while it was fetched")
)

// again reports whether the same request may well succeed in a moment. Credentials are left to their provider, which asks
// for them again in its own time.
func again(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return true // of the context, or errChanged
	}
	return e.Code == CodeNetwork || e.Code == CodeServerError || e.Code == CodeThrottled
}

// retry calls try until it succeeds, fails for good or has failed maxAttempts times in a row without progress. Each
// attempt has a context of its own, which ends when alive was not called for as long as Limits.Stall; what the attempt
// spends on waiting for anything but the other side it spends in idle.
func (f *Fetcher) retry(ctx context.Context, what string, try func(context.Context, *watchdog) (progress bool, err error)) error {
	for failures := 0; ; {
		progress, err := f.attempt(ctx, try)
		if err == nil {
			return nil
		}
		if progress {
			failures = 0
		}
		failures++
		if errors.Is(err, errChanged) && failures == maxAttempts {
			err = fail(CodeServerError, "%s changed every time while it was fetched; announce it when it is complete", what)
		}
		if !again(err) || failures == maxAttempts || ctx.Err() != nil {
			return err
		}
		pause := f.pauseAfter(failures)
		f.log.Info("downloading a model: trying again", zap.String("reference", what), zap.Int("failures", failures),
			zap.Duration("in", pause), zap.Error(err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (f *Fetcher) attempt(ctx context.Context, try func(context.Context, *watchdog) (bool, error)) (bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watchdog{limit: f.opts.Limits.Stall}
	w.timer = time.AfterFunc(w.limit, func() { cancel(errStalled) })
	defer w.timer.Stop()
	progress, err := try(ctx, w)
	if err != nil && again(err) && errors.Is(context.Cause(ctx), errStalled) {
		err = fail(CodeNetwork, "the server sent nothing for %v; check the network of this device", w.limit)
	}
	return progress, err
}

// pauseAfter doubles with each failure; half of it is left to chance, so that devices that failed together do not come
// back together.
func (f *Fetcher) pauseAfter(failures int) time.Duration {
	pause := min(f.pause<<(failures-1), maxPause)
	return pause/2 + rand.N(pause/2+1)
}

// watchdog ends an attempt that stalls.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
}

func (w *watchdog) alive() { w.timer.Reset(w.limit) }
func (w *watchdog) idle()  { w.timer.Stop() }

// netError is what a failed exchange becomes. What net/http and the SDKs say names whole URLs, also those that a redirect
// led to, so only the text is kept, without queries.
func netError(what string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own // of the address guard, the redirect rules or the credentials
	}
	text := withoutQueries(err.Error())
	if strings.Contains(text, "x509:") {
		return fail(CodeNetwork, "fetch %s: the server's certificate is not trusted; check the trusted certificates, the clock of "+
			"this device and who intercepts TLS: %s", what, text)
	}
	return fail(CodeNetwork, "fetch %s: %s; check the network of this device", what, text)
}

// maxText bounds what others say in an error of ours, in bytes; the shadow has little room.
const maxText = 300

// withoutQueries removes from a text everything between a ? and the next space or quotation mark: the secret of a
// presigned URL is in its query.
func withoutQueries(text string) string {
	var out strings.Builder
	for {
		before, query, found := strings.Cut(text, "?")
		out.WriteString(before)
		if !found {
			break
		}
		end := strings.IndexAny(query, " \t\r\n\"'`<>")
		if end < 0 {
			break
		}
		text = query[end:]
	}
	short := out.String()
	if len(short) > maxText {
		short = short[:maxText]
	}
	return strings.ToValidUTF8(strings.Map(func(c rune) rune {
		if c < ' ' {
			return ' '
		}
		return c
	}, short), "")
}
