package host

import (
	"path"
	"strconv"
	"strings"
)

// Temperatures beyond these are what sensors say that are switched off or broken.
const (
	coldest = -60
	hottest = 250
)

const milli = 1e-3

// temperatures reads the thermal zones and hwmon, in thousandths of a degree (Documentation/driver-api/thermal/sysfs-api
// and Documentation/hwmon/sysfs-interface.rst of the kernel). A zone that is switched off cannot be read and is left out.
func (f files) temperatures() []Temperature {
	var out []Temperature
	add := func(name, file string) {
		if t := f.scaled(file, milli); t != nil && *t > coldest && *t < hottest && len(out) < maxEntries {
			out = append(out, Temperature{name, *t})
		}
	}
	for _, dir := range f.glob("sys/class/thermal/thermal_zone*") {
		add(f.label(dir+"/type", path.Base(dir)), dir+"/temp")
	}
	for _, dir := range f.glob("sys/class/hwmon/hwmon*") {
		if _, zone := f.number(dir + "/device/temp"); zone { // made by a thermal zone, which is in the list already
			continue
		}
		chip := f.label(dir+"/name", path.Base(dir))
		for _, file := range f.glob(dir + "/temp*_input") {
			channel := strings.TrimSuffix(path.Base(file), "_input")
			add(chip+" "+f.label(dir+"/"+channel+"_label", channel), file)
		}
	}
	names := map[string]bool{}
	for i := range out {
		out[i].Name = unique(names, out[i].Name)
	}
	return out
}

// unique numbers the second and later ones of a name: two sensors of one name would be one series.
func unique(names map[string]bool, name string) string {
	free := name
	for n := 2; names[free]; n++ {
		free = name + " " + strconv.Itoa(n)
	}
	names[free] = true
	return free
}

// rails reads the supplies that are measured: those of an INA3221, which Jetsons have (volts and amperes of up to three
// channels, hwmon), and whatever else has power1_input, in microwatts.
func (f files) rails() []Rail {
	const micro = 1e-6
	var out []Rail
	for _, dir := range f.glob("sys/class/hwmon/hwmon*") {
		chip := f.label(dir+"/name", path.Base(dir))
		for _, file := range f.glob(dir + "/power*_input") {
			channel := strings.TrimSuffix(path.Base(file), "_input")
			if w := f.scaled(file, micro); w != nil {
				out = append(out, Rail{f.label(dir+"/"+channel+"_label", chip), *w})
			}
		}
		if chip != "ina3221" {
			continue
		}
		const channels = 3 // in7 is the sum of the shunts
		for i := range channels {
			n := strconv.Itoa(i + 1)
			v, a := f.scaled(dir+"/in"+n+"_input", milli), f.scaled(dir+"/curr"+n+"_input", milli)
			name := f.label(dir+"/in"+n+"_label", "")
			if v == nil || a == nil || name == "" || name == "NC" { // not connected
				continue
			}
			out = append(out, Rail{name, *v * *a})
		}
	}
	out = out[:min(len(out), maxEntries)]
	names := map[string]bool{}
	for i := range out {
		out[i].Name = unique(names, out[i].Name)
	}
	return out
}

// gpus are those of Jetsons, through devfreq: load in thousandths, clocks in hertz. Their memory is the machine's.
func (f files) gpus() []GPU {
	var out []GPU
	for _, dir := range f.glob("sys/class/devfreq/*") {
		switch f.label(dir+"/device/of_node/name", "") {
		case "gpu", "ga10b", "gv11b", "gp10b", "gm20b":
		default:
			continue
		}
		out = append(out, GPU{
			Name: path.Base(dir), Integrated: true, Load: f.scaled(dir+"/device/load", milli),
			ClockHz: f.scaled(dir+"/cur_freq", 1), MaxClockHz: f.scaled(dir+"/max_freq", 1),
		})
	}
	if len(out) > 0 {
		return out
	}
	for _, dir := range []string{"sys/devices/gpu.0", "sys/devices/platform/gpu.0"} { // of older kernels
		if load := f.scaled(dir+"/load", milli); load != nil {
			return []GPU{{Name: path.Base(dir), Integrated: true, Load: load}}
		}
	}
	return nil
}

// powerMode is a Jetson's nvpmodel: the mode's number in its status, its name in its configuration
// (`< POWER_MODEL ID=0 NAME=MAXN >`). Both may be closed to us.
func (f files) powerMode() string {
	text, _ := f.text("var/lib/nvpmodel/status")
	id, found := strings.CutPrefix(text, "pmode:")
	n, err := strconv.Atoi(strings.TrimSpace(id))
	if !found || err != nil {
		return ""
	}
	conf, _ := f.text("etc/nvpmodel.conf")
	for line := range strings.Lines(conf) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "< POWER_MODEL ID="+strconv.Itoa(n)+" NAME=")
		if name, _, closed := strings.Cut(rest, ">"); ok && closed {
			name = strings.TrimSpace(name)
			return name[:min(len(name), maxName)]
		}
	}
	return strconv.Itoa(n)
}
