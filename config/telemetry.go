package config

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"gnomon/config/yamldoc"
)

// Telemetry is the section telemetry: what waits for the broker, and what is sent beside detections.
type Telemetry struct {
	Spool       Spool       `yaml:"spool" jsonschema_description:"Where messages wait for the broker."`
	BasicIngest BasicIngest `yaml:"basic_ingest" jsonschema_description:"AWS IoT rules to hand messages to directly, which costs less and can be read by nobody else."`
	Metrics     Metrics     `yaml:"metrics" jsonschema_description:"What is measured."`
	Logs        Logs        `yaml:"logs" jsonschema_description:"Which logs are sent."`
}

// Spool is the section telemetry.spool.
type Spool struct {
	Dir         string   `yaml:"dir" jsonschema_description:"The folder in which messages wait for the broker, used by one agent at a time; or the word memory, which loses them with the process. Empty: telemetry in the folder where the agent keeps its state, or memory with the embedded broker."`
	MaxSize     Size     `yaml:"max_size" jsonschema_description:"How much they may take: 16MB to 64GB. Beyond it logs are dropped first, then metrics, detections and events, each oldest first."`
	CommitEvery Duration `yaml:"commit_every" jsonschema_description:"How often they are made safe from a power cut: 10ms to 10s, the longest time that is lost. 0s: each before it counts as taken."`
}

// BasicIngest is the section telemetry.basic_ingest: the names of AWS IoT rules, empty for ordinary topics.
type BasicIngest struct {
	Detections string `yaml:"detections" jsonschema_description:"The rule for detections. Empty: an ordinary topic."`
	Events     string `yaml:"events" jsonschema_description:"The rule for events. Empty: an ordinary topic."`
	Metrics    string `yaml:"metrics" jsonschema_description:"The rule for metrics. Empty: an ordinary topic."`
	Logs       string `yaml:"logs" jsonschema_description:"The rule for logs. Empty: an ordinary topic."`
}

// Metrics is the section telemetry.metrics.
type Metrics struct {
	Every               Duration `yaml:"every" jsonschema_description:"How often a message with everything that is measured is sent: 5s to 1h."`
	Listen              string   `yaml:"listen" jsonschema_description:"The address at which Prometheus finds the same at /metrics. Anybody who reaches it can read it. Empty: none."`
	CloudWatchNamespace string   `yaml:"cloudwatch_namespace" jsonschema_description:"The namespace under which metrics are also sent in CloudWatch's embedded metric format. Empty: they are not."`
}

// Logs is the section telemetry.logs.
type Logs struct {
	Enabled bool     `yaml:"enabled" jsonschema_description:"False: no logs are sent; the agent's own still go to standard error."`
	Level   Level    `yaml:"level" jsonschema_description:"The least important of the agent's own messages to send: debug, info, warn or error."`
	Rate    int      `yaml:"rate" jsonschema_description:"How many lines a second are sent at most, 1 to 1000; the rest is counted."`
	Units   []string `yaml:"journal_units" jsonschema_description:"Units of systemd whose messages are sent, such as docker.service."`
	Kernel  bool     `yaml:"kernel" jsonschema_description:"True: the kernel's messages are sent."`
	Files   []string `yaml:"files" jsonschema_description:"Log files whose new lines are sent, also after they were rotated."`
}

// Parameters is the section aws.parameters.
type Parameters struct {
	Path  string   `yaml:"path" jsonschema_description:"The path in Parameter Store that holds settings of the whole fleet, such as /gnomon/fleet: /gnomon/fleet/mqtt/publish is mqtt.publish. Empty: none."`
	Every Duration `yaml:"every" jsonschema_description:"How often it is looked at: 30s to 24h."`
}

// SpoolMemory in Spool.Dir: messages wait in memory.
const SpoolMemory = "memory"

// Limits of the sections above.
const (
	// minSpool is the least telemetry.spool.max_size: some ten thousand detections. maxSpool is what can still be looked
	// through at a start within seconds.
	minSpool = 16 * megabyte
	maxSpool = 64 * gigabyte
	// minCommit is the least time between commits: more than 100 a second wear a card out.
	minCommit  = 10 * time.Millisecond
	maxCommit  = 10 * time.Second
	minMetrics = 5 * time.Second
	maxMetrics = time.Hour
	// maxLogRate is ten times what AWS IoT takes as messages; lines travel in batches.
	maxLogRate = 1000
	// maxLogSources is the largest number of units and of files: each is followed by a process or a goroutine.
	maxLogSources = 32
	minParameters = 30 * time.Second
	maxParameters = 24 * time.Hour
)

// The forms of names in the sections above.
const (
	rulePattern      = `^[A-Za-z0-9_]{0,128}$`
	unitPattern      = `^[A-Za-z0-9:_.\\@-]{1,255}$`
	namespacePattern = `^[A-Za-z0-9_./#:-]{0,255}$`
	parameterPattern = `^((/[A-Za-z0-9_.-]+){1,10})?$`
)

func (t *Telemetry) check(p *yamldoc.Problems) {
	s := &t.Spool
	checkPath(p, "telemetry.spool.dir", s.Dir)
	if s.MaxSize < minSpool || s.MaxSize > maxSpool {
		p.Addf("telemetry.spool.max_size", "must be from %v to %v, not %v", Size(minSpool), Size(maxSpool), s.MaxSize)
	}
	if s.CommitEvery != 0 {
		checkDuration(p, "telemetry.spool.commit_every", s.CommitEvery, minCommit, maxCommit)
	}
	for _, rule := range [...]struct{ path, value string }{
		{"detections", t.BasicIngest.Detections},
		{"events", t.BasicIngest.Events},
		{"metrics", t.BasicIngest.Metrics},
		{"logs", t.BasicIngest.Logs},
	} {
		if !matches(rulePattern, rule.value) {
			p.Addf(yamldoc.Key("telemetry.basic_ingest", rule.path), "must be the name of a rule, letters, digits and _, not %s", shown(rule.value))
		}
	}
	t.Metrics.check(p)
	t.Logs.check(p)
}

func (m *Metrics) check(p *yamldoc.Problems) {
	checkDuration(p, "telemetry.metrics.every", m.Every, minMetrics, maxMetrics)
	if m.Listen != "" {
		if _, err := netip.ParseAddrPort(m.Listen); err != nil {
			p.Addf("telemetry.metrics.listen", "must be an address and port such as 127.0.0.1:9464, not %s", shown(m.Listen))
		}
	}
	if !matches(namespacePattern, m.CloudWatchNamespace) || len(m.CloudWatchNamespace) >= 4 && m.CloudWatchNamespace[:4] == "AWS/" {
		p.Addf("telemetry.metrics.cloudwatch_namespace", "must be letters, digits and . _ / # : -, not beginning with AWS/: %s", shown(m.CloudWatchNamespace))
	}
}

func (l *Logs) check(p *yamldoc.Problems) {
	yamldoc.OneOf(p, "telemetry.logs.level", l.Level, LevelDebug, LevelInfo, LevelWarn, LevelError)
	if l.Rate < 1 || l.Rate > maxLogRate {
		p.Addf("telemetry.logs.rate", "must be from 1 to %d, not %d", maxLogRate, l.Rate)
	}
	for _, list := range [...]struct {
		path    string
		entries []string
	}{{"telemetry.logs.journal_units", l.Units}, {"telemetry.logs.files", l.Files}} {
		if len(list.entries) > maxLogSources {
			p.Addf(list.path, "has %d entries, more than the %d that are allowed", len(list.entries), maxLogSources)
		}
	}
	for i, unit := range l.Units {
		if !matches(unitPattern, unit) || unit[0] == '-' {
			p.Addf(yamldoc.Index("telemetry.logs.journal_units", i), "must be the name of a unit such as docker.service, not %s", shown(unit))
		}
	}
	for i, file := range l.Files {
		at := yamldoc.Index("telemetry.logs.files", i)
		if file == "" {
			p.Addf(at, "is empty; write the path of a log file, or remove it")
		}
		checkPath(p, at, file)
		if slices.Contains(l.Files[:i], file) {
			p.Addf(at, "is there twice: %s; remove one", shown(file))
		}
	}
}

func (q *Parameters) check(p *yamldoc.Problems, a *AWS) {
	if !matches(parameterPattern, q.Path) {
		p.Addf("aws.parameters.path", "must be a path such as /gnomon/fleet, without a slash at its end, not %s", shown(q.Path))
	}
	checkDuration(p, "aws.parameters.every", q.Every, minParameters, maxParameters)
	if matches(parameterPattern, q.Path) && q.Path != "" && a.RoleAlias == "" {
		p.Addf("aws.parameters.path", "needs credentials; set aws.credentials_endpoint and aws.role_alias")
	}
}

// Loopback reports whether the metrics can be read on this machine only.
func (m *Metrics) Loopback() bool {
	host, _, err := net.SplitHostPort(m.Listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
