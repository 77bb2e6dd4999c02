package metrics

import "gnomon/telemetry/host"

func (t *text) host(h *host.Snapshot) {
	t.family("gnomon_host_uptime_seconds", gauge, "Since the machine started.").optional(h.UptimeS)
	if c := h.CPU; c != nil {
		t.processor(c)
	}
	if m := h.Memory; m != nil {
		t.family("gnomon_host_memory_size_bytes", gauge, "Memory of the machine.").count(m.Total)
		t.family("gnomon_host_memory_available_bytes", gauge, "Memory that programs could get without swapping.").bytes(m.Available)
		t.family("gnomon_host_swap_size_bytes", gauge, "Swap space.").bytes(m.SwapTotal)
		t.family("gnomon_host_swap_free_bytes", gauge, "Swap space that is free.").bytes(m.SwapFree)
	}
	if c := h.Cgroup; c != nil {
		t.family("gnomon_cgroup_memory_limit_bytes", gauge, "Memory that the agent's control group may have.").bytes(c.MemoryLimit)
		t.family("gnomon_cgroup_memory_used_bytes", gauge, "Memory that the agent's control group has.").bytes(c.MemoryUsed)
		t.family("gnomon_cgroup_cpu_limit_cores", gauge, "Cores that the agent's control group may use.").optional(c.CPULimit)
		t.family("gnomon_cgroup_cpu_throttled_ratio", gauge, "Periods of the scheduler in which the control group was held back.").optional(c.ThrottledShare)
	}
	if p := h.Process; p != nil {
		t.family("gnomon_process_resident_memory_bytes", gauge, "Memory of the agent.").bytes(p.RSS)
		t.family("gnomon_process_threads", gauge, "Threads of the agent.").bytes(p.Threads)
		t.family("gnomon_process_cpu_cores", gauge, "Cores that the agent keeps busy.").optional(p.CPU)
		t.family("gnomon_process_open_fds", gauge, "Files that the agent has open.").bytes(p.Files)
		t.family("gnomon_process_max_fds", gauge, "Files that the agent may have open.").bytes(p.MaxFile)
	}
	if d := h.Disk; d != nil {
		t.family("gnomon_host_disk_size_bytes", gauge, "The file system of the state directory.").count(d.Total)
		t.family("gnomon_host_disk_available_bytes", gauge, "What is free on the file system of the state directory.").count(d.Available)
	}
	if c := h.Clock; c != nil {
		t.family("gnomon_host_clock_synchronised", gauge, "1: something keeps the clock right.").add(flag(c.Synchronised))
		t.family("gnomon_host_clock_max_error_seconds", gauge, "The kernel's bound on how wrong the clock is.").optional(c.MaxErrorS)
	}
	t.sensors(h)
	t.network(h.Network)
	t.gpus(h.GPUs)
}

// bytes is optional for whole numbers.
func (f *family) bytes(value *uint64, labels ...label) {
	if value != nil {
		f.count(*value, labels...)
	}
}

func (t *text) processor(c *host.CPU) {
	t.family("gnomon_host_cpu_busy_ratio", gauge, "How busy all cores together were.").optional(c.Busy)
	cores := t.family("gnomon_host_cpu_core_busy_ratio", gauge, "How busy each core was.")
	for i, share := range c.Cores {
		cores.optional(share, label{"core", itoa(i)})
	}
	t.family("gnomon_host_cpu_cores", gauge, "Cores that are on.").count(uint64(c.Count))
	t.family("gnomon_host_load1", gauge, "Runnable tasks, mean of one minute.").optional(c.Load1)
	t.family("gnomon_host_load5", gauge, "Runnable tasks, mean of five minutes.").optional(c.Load5)
	t.family("gnomon_host_load15", gauge, "Runnable tasks, mean of a quarter of an hour.").optional(c.Load15)
	t.family("gnomon_host_cpu_frequency_hertz", gauge, "The fastest core's clock.").optional(c.FrequencyHz)
	t.family("gnomon_host_cpu_frequency_limit_hertz", gauge, "What the clock may be at present.").optional(c.LimitHz)
	t.family("gnomon_host_cpu_frequency_max_hertz", gauge, "What the hardware can do.").optional(c.MaxHz)
}

func (t *text) sensors(h *host.Snapshot) {
	temperatures := t.family("gnomon_host_temperature_celsius", gauge, "Temperature by sensor.")
	for _, s := range h.Temperatures {
		temperatures.add(s.Celsius, label{"sensor", s.Name})
	}
	rails := t.family("gnomon_host_power_watts", gauge, "Power by supply.")
	for _, r := range h.Rails {
		rails.add(r.Watts, label{"rail", r.Name})
	}
	if h.Throttle == nil {
		return
	}
	t.family("gnomon_host_throttled", gauge, "1: the machine is slower than it could be.").add(flag(len(h.Throttle.Now) > 0))
	reasons := t.family("gnomon_host_throttled_reason", gauge, "Why the machine is slower than it could be; only reasons that hold are there.")
	for _, reason := range h.Throttle.Now {
		reasons.add(1, label{"reason", reason})
	}
	events := t.family("gnomon_host_throttle_events_total", counter, "Counters of the hardware.")
	for _, e := range h.Throttle.Events {
		events.count(e.Count, label{"event", e.Name})
	}
}

func (t *text) network(list []host.Interface) {
	for _, f := range []struct {
		name, help string
		value      func(*host.Interface) uint64
	}{
		{"gnomon_host_network_receive_bytes_total", "Bytes received.", func(i *host.Interface) uint64 { return i.Received }},
		{"gnomon_host_network_transmit_bytes_total", "Bytes sent.", func(i *host.Interface) uint64 { return i.Sent }},
		{"gnomon_host_network_receive_errors_total", "Packets received with errors.", func(i *host.Interface) uint64 { return i.RxErrors }},
		{"gnomon_host_network_transmit_errors_total", "Packets not sent because of errors.", func(i *host.Interface) uint64 { return i.TxErrors }},
		{"gnomon_host_network_receive_dropped_total", "Packets received and dropped.", func(i *host.Interface) uint64 { return i.RxDropped }},
		{"gnomon_host_network_transmit_dropped_total", "Packets dropped instead of being sent.", func(i *host.Interface) uint64 { return i.TxDropped }},
	} {
		family := t.family(f.name, counter, f.help)
		for i := range list {
			family.count(f.value(&list[i]), label{"interface", list[i].Name})
		}
	}
}

func (t *text) gpus(list []host.GPU) {
	for _, f := range []struct {
		name, help string
		value      func(*host.GPU) *float64
	}{
		{"gnomon_gpu_load_ratio", "How busy the GPU is.", func(g *host.GPU) *float64 { return g.Load }},
		{"gnomon_gpu_memory_used_bytes", "Memory of the GPU in use.", func(g *host.GPU) *float64 { return toFloat(g.MemoryUsed) }},
		{"gnomon_gpu_memory_size_bytes", "Memory of the GPU.", func(g *host.GPU) *float64 { return toFloat(g.MemoryTotal) }},
		{"gnomon_gpu_temperature_celsius", "Temperature of the GPU.", func(g *host.GPU) *float64 { return g.Celsius }},
		{"gnomon_gpu_power_watts", "Power of the GPU.", func(g *host.GPU) *float64 { return g.Watts }},
		{"gnomon_gpu_clock_hertz", "Clock of the GPU.", func(g *host.GPU) *float64 { return g.ClockHz }},
		{"gnomon_gpu_clock_max_hertz", "The highest clock of the GPU.", func(g *host.GPU) *float64 { return g.MaxClockHz }},
	} {
		family := t.family(f.name, gauge, f.help)
		for i := range list {
			family.optional(f.value(&list[i]), label{"gpu", list[i].Name})
		}
	}
}

func toFloat(v *uint64) *float64 {
	if v == nil {
		return nil
	}
	f := float64(*v)
	return &f
}
