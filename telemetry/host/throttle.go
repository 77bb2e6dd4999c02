package host

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// throttling collects what different parts of a machine say.
type throttling struct {
	told      bool // something on the machine tells
	now, past []string
	events    []Event
}

func (t *throttling) hold(reason string) {
	if !slices.Contains(t.now, reason) {
		t.now = append(t.now, reason)
	}
}

// throttle reads cooling devices, the counters of heat and of excess current, and what a Raspberry Pi's firmware says.
func (r *Reader) throttle(now *counters) *Throttle {
	t := &throttling{}
	now.events = map[string]uint64{}
	r.f.cooling(t)
	r.heatCounts(t, now)
	r.overCurrent(t, now)
	r.f.raspberry(t)
	if !t.told {
		return nil
	}
	slices.Sort(t.now)
	slices.Sort(t.past)
	return &Throttle{Now: append([]string{}, t.now...), SinceBoot: t.past, Events: t.events}
}

// cooling reads the kernel's cooling devices that slow a processor down; fans cool without.
func (f files) cooling(t *throttling) {
	for _, dir := range f.glob("sys/class/thermal/cooling_device*") {
		kind := f.label(dir+"/type", "")
		if !slows(kind) {
			continue
		}
		state, ok := f.number(dir + "/cur_state")
		if !ok {
			continue
		}
		t.told = true
		if state > 0 {
			t.hold("cooling " + kind)
		}
	}
}

func slows(kind string) bool {
	kind = strings.ToLower(kind)
	if strings.Contains(kind, "fan") {
		return false
	}
	for _, word := range []string{"cpu", "gpu", "processor", "devfreq", "throttle", "powerclamp"} {
		if strings.Contains(kind, word) {
			return true
		}
	}
	return false
}

// heatCounts are how often x86 processors slowed down because of heat, summed up over all that count. Cores of one package
// count the same events of the package, so that sum is some times too large; what matters is whether it grows.
func (r *Reader) heatCounts(t *throttling, now *counters) {
	for _, kind := range []string{"core", "package"} {
		sum, found := uint64(0), false
		for _, file := range r.f.glob("sys/devices/system/cpu/cpu*/thermal_throttle/" + kind + "_throttle_count") {
			if n, ok := r.f.count(file); ok {
				sum, found = sum+n, true
			}
		}
		if found {
			r.event(t, now, "heat_"+kind, sum, "heat")
		}
	}
}

// overCurrent are the counters of a Jetson's soctherm: how often the supply could not give what was wanted
// (hwmon, oc1_event_cnt and so on).
func (r *Reader) overCurrent(t *throttling, now *counters) {
	for _, file := range r.f.glob("sys/class/hwmon/hwmon*/oc*_event_cnt") {
		if n, ok := r.f.count(file); ok {
			channel, _, _ := strings.Cut(path.Base(file), "_")
			r.event(t, now, "over_current_"+channel, n, "over_current")
		}
	}
}

// event notes a counter; it holds the reason if it went up since the Snapshot before.
func (r *Reader) event(t *throttling, now *counters, name string, n uint64, reason string) {
	t.told = true
	t.events = append(t.events, Event{name, n})
	now.events[name] = n
	if before, ok := r.last.events[name]; ok && n > before {
		t.hold(reason)
	}
}

// The bits of get_throttled, which the documentation of vcgencmd lists; 16 higher: since the boot.
func raspberryBits() []string {
	return []string{"under_voltage", "frequency_capped", "throttled", "soft_temperature_limit"}
}

// raspberry reads the firmware's word where the kernel has it in sysfs (hexadecimal), and the alarm of rpi_volt, which
// took its place.
func (f files) raspberry(t *throttling) {
	for _, pattern := range []string{"sys/devices/platform/soc*/*firmware*/get_throttled", "sys/devices/platform/*/soc*/*firmware*/get_throttled"} {
		for _, file := range f.glob(pattern) {
			text, _ := f.text(file)
			bits, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
			if err != nil {
				continue
			}
			t.told = true
			for i, reason := range raspberryBits() {
				if bits>>i&1 == 1 {
					t.hold(reason)
				}
				const sinceBoot = 16
				if bits>>(i+sinceBoot)&1 == 1 && !slices.Contains(t.past, reason) {
					t.past = append(t.past, reason)
				}
			}
		}
	}
	for _, dir := range f.glob("sys/class/hwmon/hwmon*") {
		if f.label(dir+"/name", "") != "rpi_volt" {
			continue
		}
		if alarm, ok := f.number(dir + "/in0_lcrit_alarm"); ok {
			t.told = true
			if alarm > 0 {
				t.hold("under_voltage")
			}
		}
	}
}
