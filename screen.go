package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gdamore/tcell/v2"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// thumbnailEvery is how often the screen gets a new picture: often enough to look alive, rare enough to cost nothing.
const thumbnailEvery = 100 * time.Millisecond

// Size of a thumbnail in pixels: two of them, one above the other, are a character cell.
const thumbW, thumbH = 160, 120

// thumbnail keeps a small copy of the latest frame and its detections for the screen.
type thumbnail struct {
	mu     sync.Mutex
	next   time.Time
	pix    [thumbW * thumbH * 3]uint8 // BGR
	w, h   int                        // of the frame
	dets   []detect.Detection
	labels []string
	filled bool
}

// take copies the result if the last copy is old enough.
func (t *thumbnail) take(r *engine.Result) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.next) {
		return
	}
	t.next = now.Add(thumbnailEvery)
	f := r.Frame
	for y := range thumbH {
		row := f.Pix[y*f.Height/thumbH*f.Stride:]
		for x := range thumbW {
			copy(t.pix[3*(y*thumbW+x):][:3], row[3*(x*f.Width/thumbW):])
		}
	}
	t.w, t.h, t.labels, t.filled = f.Width, f.Height, r.Model.Labels, true
	t.dets = append(t.dets[:0], r.Detections...)
}

// screen shows the agent at work on a terminal: the picture with its boxes, and the state of everything below.
type screen struct {
	tty tcell.Screen
}

// newScreen takes the terminal over. close gives it back.
func newScreen() (*screen, error) {
	tty, err := tcell.NewScreen()
	if err != nil {
		return nil, fmt.Errorf("open the terminal: %w", err)
	}
	if err := tty.Init(); err != nil {
		return nil, fmt.Errorf("open the terminal: %w", err)
	}
	return &screen{tty: tty}, nil
}

// keys handles keys until the screen is closed; q, Escape and Ctrl-C call quit.
func (s *screen) keys(quit func()) {
	for {
		switch e := s.tty.PollEvent().(type) {
		case nil:
			return
		case *tcell.EventResize:
			s.tty.Sync()
		case *tcell.EventKey:
			if e.Key() == tcell.KeyCtrlC || e.Key() == tcell.KeyEscape || e.Rune() == 'q' {
				quit()
			}
		}
	}
}

func (s *screen) close() { s.tty.Fini() }

// draw shows a picture (may be nil) above lines of text, the last of which stay if there is no room for all.
func (s *screen) draw(t *thumbnail, lines []string) {
	s.tty.Clear()
	w, h := s.tty.Size()
	rows := max(0, h-len(lines)-1)
	used := 0
	if t != nil {
		used = s.picture(t, w, rows)
	}
	for i, line := range lines {
		style := tcell.StyleDefault
		if i == 0 {
			style = style.Bold(true)
		}
		s.text(0, used+1+i, w, line, style)
	}
	s.tty.Show()
}

// picture draws the thumbnail into at most w x rows cells, half a cell a pixel, and returns the rows that it took.
func (s *screen) picture(t *thumbnail, w, rows int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.filled || rows < 4 || w < 16 {
		return 0
	}
	// Cells are twice as high as wide, so a half is a square pixel.
	cols := min(w, rows*2*t.w/t.h)
	rows = min(rows, cols*t.h/t.w/2)
	at := func(x, y int) tcell.Color { // pixel of a cols x 2*rows picture
		p := t.pix[3*(y*thumbH/(2*rows)*thumbW+x*thumbW/cols):]
		return tcell.NewRGBColor(int32(p[2]), int32(p[1]), int32(p[0]))
	}
	for y := range rows {
		for x := range cols {
			s.tty.SetContent(x, y, '▀', nil, tcell.StyleDefault.Foreground(at(x, 2*y)).Background(at(x, 2*y+1)))
		}
	}
	for _, d := range t.dets {
		s.box(d, t, cols, rows)
	}
	return rows
}

func (s *screen) box(d detect.Detection, t *thumbnail, cols, rows int) {
	x0, x1 := int(d.Box.X1)*cols/t.w, min(cols-1, int(d.Box.X2)*cols/t.w)
	y0, y1 := int(d.Box.Y1)*rows/t.h, min(rows-1, int(d.Box.Y2)*rows/t.h)
	style := tcell.StyleDefault.Foreground(tcell.PaletteColor(9 + d.ClassID%6)).Bold(true)
	put := func(x, y int, r rune) {
		_, old, _ := s.tty.Get(x, y)
		_, bg, _ := old.Decompose()
		s.tty.SetContent(x, y, r, nil, style.Background(bg))
	}
	for x := x0 + 1; x < x1; x++ {
		put(x, y0, '─')
		put(x, y1, '─')
	}
	for y := y0 + 1; y < y1; y++ {
		put(x0, y, '│')
		put(x1, y, '│')
	}
	put(x0, y0, '┌')
	put(x1, y0, '┐')
	put(x0, y1, '└')
	put(x1, y1, '┘')
	label := ""
	if d.ClassID < len(t.labels) {
		label = t.labels[d.ClassID]
	}
	caption := fmt.Sprintf("%s %.0f%%", label, 100*d.Score)
	s.text(x0+1, max(0, y0-1), min(cols, x0+1+len(caption)), caption, style.Reverse(true))
}

// text writes a line from x to the column limit.
func (s *screen) text(x, y, limit int, line string, style tcell.Style) {
	for _, r := range strings.TrimRight(line, "\n") {
		if x >= limit {
			return
		}
		s.tty.SetContent(x, y, r, nil, style)
		x++
	}
}
