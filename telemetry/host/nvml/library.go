package nvml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ebitengine/purego"

	"gnomon/telemetry/host"
)

// device is nvmlDevice_t, an opaque pointer of the library's.
type device uintptr

// status is nvmlReturn_t; 0 is success. What a GPU cannot tell is an error too, and means absent.
type status int32

const temperatureGPU = 0 // NVML_TEMPERATURE_GPU

const clockGraphics = 0 // NVML_CLOCK_GRAPHICS

// memory is nvmlMemory_t, in bytes.
type memory struct{ total, _, used uint64 }

// utilisation is nvmlUtilization_t, in per cent.
type utilisation struct{ gpu, _ uint32 }

// Reasons of nvml.h why clocks are lower than they could be; being idle and being set so by somebody are not among them.
const (
	reasonPowerCap      = 0x04 // SwPowerCap
	reasonHardware      = 0x08 // HwSlowdown
	reasonThermal       = 0x20 // SwThermalSlowdown
	reasonHardThermal   = 0x40 // HwThermalSlowdown
	reasonHardwareBrake = 0x80 // HwPowerBrakeSlowdown
)

// library holds the functions of nvml.h that are used. Those that older drivers lack are nil.
type library struct {
	initialise   func() status
	shutdown     func() status
	count        func(*uint32) status
	handle       func(uint32, *device) status
	name         func(device, *byte, uint32) status
	memory       func(device, *memory) status
	utilisation  func(device, *utilisation) status
	temperature  func(device, uint32, *uint32) status
	power        func(device, *uint32) status         // milliwatts
	clock        func(device, uint32, *uint32) status // MHz
	maxClock     func(device, uint32, *uint32) status // MHz
	clockReasons func(device, *uint64) status
}

// load opens the library and calls nvmlInit_v2.
func load(name string) (*library, error) {
	h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("no NVIDIA driver: %w", err)
	}
	l := &library{}
	for _, f := range []struct {
		fn   any
		name string
		must bool
	}{
		{&l.initialise, "nvmlInit_v2", true},
		{&l.shutdown, "nvmlShutdown", true},
		{&l.count, "nvmlDeviceGetCount_v2", true},
		{&l.handle, "nvmlDeviceGetHandleByIndex_v2", true},
		{&l.name, "nvmlDeviceGetName", false},
		{&l.memory, "nvmlDeviceGetMemoryInfo", false},
		{&l.utilisation, "nvmlDeviceGetUtilizationRates", false},
		{&l.temperature, "nvmlDeviceGetTemperature", false},
		{&l.power, "nvmlDeviceGetPowerUsage", false},
		{&l.clock, "nvmlDeviceGetClockInfo", false},
		{&l.maxClock, "nvmlDeviceGetMaxClockInfo", false},
		{&l.clockReasons, "nvmlDeviceGetCurrentClocksThrottleReasons", false},
	} {
		address, err := purego.Dlsym(h, f.name)
		if err == nil {
			purego.RegisterFunc(f.fn, address)
		} else if f.must {
			return nil, fmt.Errorf("%s is not NVIDIA's management library: %w", name, err)
		}
	}
	if st := l.initialise(); st != 0 {
		return nil, fmt.Errorf("NVIDIA's management library does not start (status %d); is the driver loaded, and of the same version?", st)
	}
	return l, nil
}

func (l *library) end() error {
	if st := l.shutdown(); st != 0 {
		return errors.New("NVIDIA's management library did not shut down")
	}
	return nil
}

// gpus asks about all of them.
func (l *library) gpus() []host.GPU {
	var n uint32
	if l.count(&n) != 0 {
		return nil
	}
	var out []host.GPU
	for i := range min(n, maxGPUs) {
		var d device
		if l.handle(i, &d) == 0 {
			out = append(out, l.gpu(d, i))
		}
	}
	return out
}

func (l *library) gpu(d device, i uint32) host.GPU {
	g := host.GPU{Name: l.label(d, i)}
	if l.memory != nil {
		if m := new(memory); l.memory(d, m) == 0 {
			g.MemoryUsed, g.MemoryTotal = &m.used, &m.total
		}
	}
	if l.utilisation != nil {
		const perCent = 100
		if u := new(utilisation); l.utilisation(d, u) == 0 {
			load := float64(u.gpu) / perCent
			g.Load = &load
		}
	}
	const milli, mega = 1e-3, 1e6
	if l.temperature != nil {
		g.Celsius = scaled(1, func(v *uint32) status { return l.temperature(d, temperatureGPU, v) })
	}
	if l.power != nil {
		g.Watts = scaled(milli, func(v *uint32) status { return l.power(d, v) })
	}
	if l.clock != nil {
		g.ClockHz = scaled(mega, func(v *uint32) status { return l.clock(d, clockGraphics, v) })
	}
	if l.maxClock != nil {
		g.MaxClockHz = scaled(mega, func(v *uint32) status { return l.maxClock(d, clockGraphics, v) })
	}
	if l.clockReasons != nil {
		if bits := new(uint64); l.clockReasons(d, bits) == 0 {
			g.Throttled = reasons(*bits)
		}
	}
	return g
}

// label is the GPU's name, with its number where there are several alike.
func (l *library) label(d device, i uint32) string {
	text := make([]byte, maxName)
	if l.name == nil || l.name(d, &text[0], maxName) != 0 {
		return fmt.Sprintf("gpu%d", i)
	}
	name, _, _ := bytes.Cut(text, []byte{0})
	return fmt.Sprintf("gpu%d %s", i, strings.ToValidUTF8(string(name), string(utf8.RuneError)))
}

// scaled asks for one number; nil: the GPU does not tell.
func scaled(factor float64, ask func(*uint32) status) *float64 {
	v := new(uint32)
	if ask(v) != 0 {
		return nil
	}
	f := float64(*v) * factor
	return &f
}

func reasons(bits uint64) []string {
	var out []string
	if bits&(reasonThermal|reasonHardThermal) != 0 {
		out = append(out, "thermal")
	}
	if bits&(reasonPowerCap|reasonHardwareBrake) != 0 {
		out = append(out, "power")
	}
	// HwSlowdown is the sum of the two of the hardware, on older GPUs without saying which.
	if bits&reasonHardware != 0 && bits&(reasonHardThermal|reasonHardwareBrake) == 0 {
		out = append(out, "hardware")
	}
	return out
}
