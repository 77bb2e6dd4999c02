package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"go.uber.org/zap"
	"golang.org/x/term"

	"gnomon/engine"
)

// How often the agent says what it is doing.
const (
	screenEvery = 200 * time.Millisecond // redraw the screen
	reportEvery = time.Second            // measure speeds, log trouble with frames
	lineEvery   = 5 * time.Second        // print plain lines when there is no terminal, in the first minute
	lineLater   = time.Minute            // and after that, when it is a service's log that they fill
)

// shownLog is how many lines of the log the screen shows.
const shownLog = 4

// board shows the agent at work: on a terminal a screen, elsewhere lines on stdout. It is also where the log is
// written, because the screen owns the terminal while it is up. One goroutine runs it; any may write.
type board struct {
	out   io.Writer
	agent *agent
	quit  func()
	view  *thumbnail // what the screen shows

	mu     sync.Mutex // guards what Write and the screen share
	screen *screen    // nil: lines
	logged []string   // the end of the log, for the screen

	started time.Time
	last    map[string]rate
}

// rate remembers counters to tell speed from.
type rate struct {
	at    time.Time
	stats engine.Stats
	fps   float64
}

func newBoard(out io.Writer) *board {
	return &board{out: out, started: time.Now(), last: map[string]rate{}}
}

// Write takes lines of the log: to stderr, or to the screen while that is up.
func (b *board) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.screen == nil {
		return os.Stderr.Write(p)
	}
	b.logged = append(b.logged, strings.Split(strings.TrimRight(string(p), "\n"), "\n")...)
	b.logged = b.logged[max(0, len(b.logged)-shownLog):]
	return len(p), nil
}

// open starts to show a: quit is called when the user wants to leave.
func (b *board) open(a *agent, quit func()) error {
	b.agent, b.quit, b.started = a, quit, time.Now()
	if b.out != os.Stdout || !term.IsTerminal(int(os.Stdout.Fd())) || !term.IsTerminal(int(os.Stdin.Fd())) {
		_, err := fmt.Fprintf(b.out, "watching %s with %s, publishing to %s\n%s\n", strings.Join(a.enabled(), ", "), a.models(), a.mqtt.Stats().Broker, a.hint())
		return err
	}
	s, err := newScreen()
	if err != nil { // a terminal that cannot place its cursor: lines then
		_, err := fmt.Fprintf(b.out, "no screen (%v), but lines\n%s\n", err, a.hint())
		return err
	}
	b.view = &thumbnail{}
	a.crew.show(b.view)
	b.mu.Lock()
	b.screen = s
	b.mu.Unlock()
	return nil
}

// run shows the agent until ctx ends, then gives the terminal back.
func (b *board) run(ctx context.Context) error {
	every := reportEvery
	if b.screen != nil {
		every = screenEvery
		var keys sync.WaitGroup
		keys.Go(func() { b.screen.keys(b.quit) })
		defer func() {
			b.mu.Lock()
			s := b.screen
			b.screen = nil
			b.mu.Unlock()
			s.close()
			keys.Wait()
		}()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var reported, printed time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if now.Sub(reported) >= reportEvery {
				reported = now
				b.measure(now)
			}
			switch {
			case b.screen != nil:
				b.screen.draw(b.view, b.lines(true))
			case now.Sub(printed) >= lineEvery && now.Sub(b.started) < lineLater, now.Sub(printed) >= lineLater:
				printed = now
				if _, err := fmt.Fprintln(b.out, strings.Join(b.lines(false), "\n")); err != nil {
					return fmt.Errorf("print the state: %w", err)
				}
			}
		}
	}
}

// measure updates the speed of every source and logs the trouble with its frames, at most once a call.
func (b *board) measure(now time.Time) {
	for _, w := range b.agent.watching() {
		s, r := w.stats(), b.last[w.name]
		if s.Processed < r.stats.Processed || s.Failed < r.stats.Failed {
			r = rate{} // another source of that name
		}
		if d := now.Sub(r.at).Seconds(); !r.at.IsZero() && d > 0 {
			r.fps = float64(s.Processed-r.stats.Processed) / d
		}
		if s.Failed > r.stats.Failed {
			w.log.Warn("frames failed", zap.Uint64("frames", s.Failed-r.stats.Failed), zap.Error(w.lastFrameError()))
		}
		r.at, r.stats = now, s
		b.last[w.name] = r
	}
}

// lines are the state of everything: one line for each source and one for MQTT; a screen has a title and the log too.
func (b *board) lines(screen bool) []string {
	a := b.agent
	var lines []string
	if screen {
		lines = append(lines, fmt.Sprintf("gnomon %s   %s on %s   up %v   q quits", version, a.models(), a.lanes, time.Since(b.started).Round(time.Second)))
	}
	for _, w := range a.watching() {
		lines = append(lines, w.line(b.last[w.name].fps))
	}
	if a.follower != nil {
		lines = append(lines, a.follower.lines()...)
	}
	s := a.mqtt.Stats()
	state := "connected"
	if !s.Connected {
		state = "not connected"
		if s.LastError != "" {
			state += " (" + s.LastError + ")"
		}
	}
	lines = append(lines, fmt.Sprintf("mqtt: %s %s, %d published, %d acknowledged, %d waiting, %d dropped", s.Broker, state, s.Published, s.Acked, s.Queued+s.InFlight, s.Dropped))
	if screen {
		b.mu.Lock()
		lines = append(append(lines, a.hint()), b.logged...)
		b.mu.Unlock()
	}
	return lines
}

// summary prints what the agent did. It returns an error if what was found reached nobody and is not kept either.
func (b *board) summary() error {
	t := newTable(b.out)
	t.AppendHeader(table.Row{"source", "frames", "dropped", "failed", "detections", "fps", "preprocess", "infer", "postprocess"})
	seconds := time.Since(b.started).Seconds()
	for _, w := range b.agent.watching() {
		s := w.stats()
		ms := func(d time.Duration) string {
			return fmt.Sprintf("%.2f ms", d.Seconds()*1000/float64(max(1, s.Processed)))
		}
		t.AppendRow(table.Row{w.name, s.Processed, s.Dropped, s.Failed, s.Detections, fmt.Sprintf("%.1f", float64(s.Processed)/seconds), ms(s.Preprocess), ms(s.Infer), ms(s.Postprocess)})
	}
	t.Render()
	m := b.agent.mqtt.Stats()
	unsent := m.Queued + m.InFlight
	left := "left unsent"
	if m.Spool != nil {
		left = "kept on the disk for the next run"
	}
	if _, err := fmt.Fprintf(b.out, "%d messages published to %s: %d acknowledged, %d dropped, %d %s\n", m.Published, m.Broker, m.Acked, m.Dropped, unsent, left); err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	if m.Acked == 0 && unsent > 0 && m.Spool == nil {
		reason := m.LastError
		if reason == "" {
			reason = "there was no time to connect"
		}
		return errors.New("nothing reached the broker: " + reason)
	}
	return nil
}
