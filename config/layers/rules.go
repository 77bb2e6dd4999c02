package layers

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gnomon/config"
)

// Codes of refused settings; they are part of the interface.
const (
	codeUnknownSetting = "unknown_setting"
	codeUnknownSource  = "unknown_source"
	codeLocalOnly      = "local_only"
	codeBadSetting     = "bad_setting"
	codeBeyondLimits   = "beyond_limits"
)

// CodeInfo is one row of Codes.
type CodeInfo struct{ Code, Meaning string }

// Codes returns what each code of a Refusal means. All stay until somebody changes the setting, the file or the device.
func Codes() []CodeInfo {
	return []CodeInfo{
		{codeUnknownSetting, "there is no setting of that name; correct it as the message suggests"},
		{codeUnknownSource, "the device has no source of that name; correct the name, or give the source a uri"},
		{codeLocalOnly, "the cloud may not set this; write it into the device's own file"},
		{codeBadSetting, "the value cannot be understood or is not possible; the message says what to write"},
		{codeBeyondLimits, "there are more settings, or a longer value, than this device takes"},
	}
}

// Refusal is a setting that is not in use.
type Refusal struct {
	Name    string `json:"name"`
	Origin  string `json:"origin"` // parameter or shadow
	Code    string `json:"code"`
	Message string `json:"message"`
	From    string `json:"-"` // as Setting.From
	// Source is the source that a refused setting of the shadow is about, which is told of it there; empty for all others.
	Source string `json:"-"`
}

func (l *layer) refuse(which Layer, one Setting, code, format string, args ...any) {
	name := one.Name()
	if name == "" {
		name = "config"
	}
	r := Refusal{Name: name, Origin: which.String(), Code: code, Message: fmt.Sprintf(format, args...), From: one.From}
	if which == Shadow {
		r.Source = one.source()
	}
	l.refused = append(l.refused, r)
}

// rule says why the cloud may not set a setting, or all below a section; without a reason it may.
type rule struct{ name, reason string }

// rules decides for every setting: one wrong parameter must not cut a fleet off from whoever could correct it, nor make
// devices trust somebody else, nor send them files of theirs. What is not in the table may not be set.
func rules() []rule {
	const (
		identity = "it says who this device is; a wrong one cuts it off"
		link     = "it is the way to the cloud; a wrong one cuts the device off"
		trust    = "it decides whom and what this device trusts"
		local    = "it names a file or folder of this device"
		policy   = "AWS IoT disconnects devices that publish where they may not"
		reach    = "it opens a port of this device"
	)
	return []rule{
		{"device", identity},
		{"sources.*.enabled", ""},
		{"sources.*.uri", ""}, // but see notFromCloud
		{"sources.*.loop", ""},
		{"sources.*.pace", ""},
		{"sources.*.watch", ""},
		{"sources.*.width", ""},
		{"sources.*.height", ""},
		{"sources.*.fps", ""},
		{"sources.*.format", ""},
		{"sources.*.transport", ""},
		{"sources.*.decoder", ""},
		{"sources.*.rotate", ""},
		{"sources.*.flip", ""},
		{"sources.*.crop", ""},
		{"sources.*.roi", ""},
		{"sources.*.score_threshold", ""},
		{"sources.*.labels", ""},
		{"sources.*.detect_fps", ""},
		{"sources.*.motion", ""},
		{"sources.*.stall", ""},
		{"sources.*.frozen_after", ""},
		{"sources.*.black_after", ""},
		{"sources.*.slot", ""},
		{"sources.*.publish", ""},
		{"model", local},
		{"engine.library", trust},
		{"engine.providers", ""},
		{"engine.strict", ""},
		{"engine.plugins", trust},
		{"engine.provider_options", trust}, // they name libraries, too
		{"engine.tensorrt.fp16", ""},
		{"engine.tensorrt.int8", ""},
		{"engine.tensorrt.cache_dir", local},
		{"engine.cuda.graph", ""},
		{"engine.sessions", ""},
		{"engine.threads", ""},
		{"engine.batch", ""},
		{"engine.spinning", ""},
		{"engine.run_timeout", ""},
		{"mqtt.broker", link},
		{"mqtt.client_id", identity},
		{"mqtt.username", identity},
		{"mqtt.password_file", local},
		{"mqtt.ca_file", trust},
		{"mqtt.cert_file", identity},
		{"mqtt.key_file", identity},
		{"mqtt.topic_prefix", policy},
		{"mqtt.qos", ""},
		{"mqtt.keep_alive", ""},
		{"mqtt.outbox", ""},
		{"mqtt.publish", ""},
		{"shadow", link},
		{"models.dir", local},
		{"models.max_size", ""},
		{"models.allow", trust},
		{"models.trusted_keys", trust},
		{"models.private_addresses", trust},
		{"models.registry_credentials", local},
		{"models.download_size", ""},
		{"models.download_rate", ""},
		{"models.download_timeout", ""},
		{"models.probe_timeout", ""},
		{"models.probe_memory", ""},
		{"models.probation", ""},
		{"models.max_slowdown", ""},
		{"models.min_detections", ""},
		{"telemetry.spool.dir", local},
		{"telemetry.spool.max_size", ""},
		{"telemetry.spool.commit_every", ""},
		{"telemetry.basic_ingest", policy},
		{"telemetry.metrics.every", ""},
		{"telemetry.metrics.listen", reach},
		{"telemetry.metrics.cloudwatch_namespace", ""},
		{"telemetry.logs.enabled", ""},
		{"telemetry.logs.level", ""},
		{"telemetry.logs.rate", ""},
		{"telemetry.logs.journal_units", ""},
		{"telemetry.logs.kernel", ""},
		{"telemetry.logs.files", local},
		{"aws", link},
		{"log.level", ""},
		{"log.format", ""},
	}
}

// localOnly is why the cloud may not set a setting; empty: it may. The rule of the longest name counts.
func localOnly(path []string) string {
	general := slices.Clone(path)
	if len(general) > 1 && general[0] == "sources" {
		general[1] = "*"
	}
	byName := map[string]string{}
	for _, r := range rules() {
		byName[r.name] = r.reason
	}
	for n := len(general); n > 0; n-- {
		if reason, ok := byName[strings.Join(general[:n], ".")]; ok {
			return reason
		}
	}
	return "it is not one of the settings that the cloud may change"
}

// admit tries a setting over below, by all rules but config's checks. An empty problem means that it is good.
func admit(below *config.Config, which Layer, one Setting) (code, problem string) {
	above := clone(below)
	path := one.Path
	if name := one.source(); len(path) == 3 && name != "" {
		above.Sources[name] = orFresh(below, name)
	}
	switch {
	case len(path) == 0 && which == Shadow:
		return codeUnknownSetting, "config must be an object of sections with settings"
	case len(path) == 1 && path[0] == sourcesKey && which == Shadow:
		return codeBadSetting, "sources in the desired document must be an object of names and settings"
	case one.entry():
	case len(path) > maxElements || !inside(reflect.ValueOf(&above).Elem(), path, func(reflect.Value, string, int) {}):
		return codeUnknownSetting, unknown(&above, path)
	case localOnly(path) != "":
		return codeLocalOnly, one.Name() + " is set in the device's own file only: " + localOnly(path)
	}
	if len(one.Text) > maxText {
		return codeBeyondLimits, fmt.Sprintf("%s has %d bytes, more than the %d that are taken", one.Name(), len(one.Text), maxText)
	}
	keys, err := assign(&above, one)
	if err != nil {
		return codeBadSetting, one.hide(err.Error())
	}
	if one.source() != "" {
		return admitSource(below, &above, which, one, keys)
	}
	return "", ""
}

// hide keeps a secret out of a message, which would repeat it.
func (s Setting) hide(message string) string {
	if s.Secret {
		return s.Name() + " has a value that is not possible; it is not shown, as it is a SecureString"
	}
	return message
}
