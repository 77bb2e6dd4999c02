package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		duration, warm, pull time.Duration
		pulls                int
	}{
		{time.Hour, 5 * time.Minute, time.Minute, 10},
		{3 * time.Minute, 30 * time.Second, 15 * time.Second, 8},
		{shortest, 20 * time.Second, 15 * time.Second, 2},
	} {
		p := newPlan(row.duration)
		if p.Warm != row.warm || p.PullEvery != row.pull || p.Pulls != row.pulls || p.Warm+p.Measured != row.duration || p.PullEvery <= 2*gone {
			t.Errorf("%v: %+v", row.duration, p)
		}
	}
}

// moments are frames at a rate, but for a gap.
func moments(begin time.Time, seconds, rate int, gap [2]int) []time.Time {
	var out []time.Time
	for i := range seconds * rate {
		if s := i / rate; s < gap[0] || s >= gap[1] {
			out = append(out, begin.Add(time.Duration(i)*time.Second/time.Duration(rate)))
		}
	}
	return out
}

func TestCameras(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	before := [2]time.Time{at(0), at(20)}
	pulls := []event{{from: at(30), to: at(35)}, {from: at(50), to: at(55)}}
	none := [2]int{-1, -1}
	for _, row := range []struct {
		name string
		c    check
		want bool
	}{
		{"steady", undisturbedBy("a", moments(begin, 80, 5, none), before, pulls), true},
		{"half of a pull missing", undisturbedBy("a", moments(begin, 80, 5, [2]int{30, 33}), before, pulls), false},
		{"nothing before", undisturbedBy("a", moments(begin, 80, 5, [2]int{0, 25}), before, pulls), false},
		{"no pulls", undisturbedBy("a", moments(begin, 80, 5, none), before, nil), false},
		{"back at once", comesBack("a", moments(begin, 80, 5, [2]int{30, 36}), pulls), true},
		{"back after 9 s", comesBack("a", moments(begin, 80, 5, [2]int{30, 44}), pulls), false},
		{"never back", comesBack("a", moments(begin, 40, 5, none), pulls), false},
		{"never away", comesBack("a", moments(begin, 80, 5, none), nil), false},
	} {
		if row.c.Passed != row.want {
			t.Errorf("%s: %+v", row.name, row.c)
		}
	}
}

func TestSlopes(t *testing.T) {
	t.Parallel()
	leak := func(perHour float64) []sample {
		var out []sample
		for i := range 600 {
			at := float64(i)
			out = append(out, sample{At: at, RSS: 100<<20 + perHour*(1<<20)*at/3600, Files: 20, Threads: 10, Goroutines: -1, Mats: 5})
		}
		return out
	}
	for _, row := range []struct {
		perHour float64
		want    bool
	}{{0, true}, {30, true}, {200, false}} {
		got := slopes(leak(row.perHour), 10*time.Minute)
		if got[0].Passed != row.want || !got[1].Passed || got[3].Passed { // goroutines are not told, which is no pass
			t.Errorf("%v MB an hour: %+v", row.perHour, got)
		}
	}
}

func TestScrapeAndConserved(t *testing.T) {
	t.Parallel()
	text := `# HELP gnomon_goroutines Goroutines.
gnomon_goroutines 42
gnomon_mqtt_dropped_total 1
gnomon_frames_captured_total{source="a"} 100
gnomon_frames_processed_total{source="a"} 90
gnomon_frames_dropped_total{source="a",cause="busy"} 6
gnomon_frames_dropped_total{source="a",cause="stale"} 3
gnomon_frames_dropped_total{source="a",cause="unsent"} 2
gnomon_frames_dropped_total{source="ab",cause="busy"} 1000
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	defer server.Close()
	v, err := scrape(t.Context(), server.URL)
	if err != nil || v.get("gnomon_goroutines") != 42 || v.get("gnomon_none") != -1 {
		t.Fatal(v, err)
	}
	for _, row := range []struct{ arrived, passed int }{{90, 2}, {87, 2}, {86, 1}} {
		passed := 0
		for _, c := range conserved("a", v, row.arrived) {
			if c.Passed {
				passed++
			}
		}
		if passed != row.passed {
			t.Errorf("%d arrived: %+v", row.arrived, conserved("a", v, row.arrived))
		}
	}
	v[`gnomon_frames_captured_total{source="a"}`] = 120
	if conserved("a", v, 90)[0].Passed {
		t.Error("frames that are not accounted for")
	}
	s, err := look(t.Context(), os.Getpid(), server.URL)
	if err != nil || s.RSS < 1<<20 || s.Files < 3 || s.Threads < 1 || s.Goroutines != 42 || s.CPU < 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// The report is well-formed and escapes what it is given.
func TestHTML(t *testing.T) {
	t.Parallel()
	r := &result{
		At: time.Now(), Plan: newPlan(time.Hour), Checks: []check{{What: "<b>", Value: "&", Limit: "≤ 1"}, {Passed: true}},
		Events: []event{{At: 10, End: 12, Kind: "pull", Text: `"killed"`}}, Rates: []rate{{Source: "a<", Frames: []int{1, 2, 3}}},
	}
	for i := range 100 {
		r.Samples = append(r.Samples, sample{At: float64(i), RSS: 1e8, Goroutines: -1})
	}
	var out bytes.Buffer
	if err := writeHTML(&out, r); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, "<b>") || strings.Contains(text, "%!") {
		t.Error(text)
	}
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "<!DOCTYPE html>\n")))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// What passes a network that is silent for a while arrives; what is severed ends, and is refused until it is mended.
func TestProxy(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	p, err := newProxy(echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() { defer close(over); p.run() }()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	talk := func(c net.Conn) error {
		if _, err := fmt.Fprint(c, "hello"); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 5))
		return err
	}
	c := dial()
	defer c.Close()
	if err := talk(c); err != nil {
		t.Fatal(err)
	}
	p.silence()
	time.AfterFunc(50*time.Millisecond, p.mend)
	if err := talk(c); err != nil {
		t.Error("after silence: ", err)
	}
	p.sever()
	other := dial()
	defer other.Close()
	if talk(c) == nil || talk(other) == nil {
		t.Error("a severed network")
	}
	p.mend()
	again := dial()
	defer again.Close()
	if err := talk(again); err != nil {
		t.Error("after mending: ", err)
	}
	p.silence()
	if err := p.close(); err != nil {
		t.Error(err)
	}
	<-over
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--duration", "10s"}, {"--models", "a"}, {"--fps", "0"}, {"what"}, {"--none"}, {"--gnomon", "/nowhere"}} {
		var said bytes.Buffer
		if code := run(t.Context(), args, io.Discard, &said); code != 2 || said.Len() == 0 {
			t.Errorf("%v: %d, %s", args, code, &said)
		}
	}
}
