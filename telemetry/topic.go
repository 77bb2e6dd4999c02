package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a topic, as AWS IoT Core sets them; MQTT itself allows 65535 bytes and any number of levels.
const (
	MaxTopicBytes   = 256
	MaxTopicSlashes = 7
)

// basicIngest is how a topic begins that AWS hands straight to one of its rules. The prefix and the rule's name don't
// count towards the limits.
const basicIngest = "$aws/rules/"

// DetectionsTopic is the topic of one source's detections: {prefix}/{thing}/{source}/detections. The prefix may have
// several levels; thing and source are one level each.
func DetectionsTopic(prefix, thing, source string) (string, error) {
	if err := validatePrefix(prefix); err != nil {
		return "", err
	}
	if err := validateLevel("thing", thing); err != nil {
		return "", err
	}
	if err := validateLevel("source", source); err != nil {
		return "", err
	}
	return checked(prefix + "/" + thing + "/" + source + "/detections")
}

// StatusTopic is the topic of the agent's retained status and of its last will: {prefix}/{thing}/status. A prefix
// that begins with $ is refused, because brokers don't retain messages there.
func StatusTopic(prefix, thing string) (string, error) {
	if err := validatePrefix(prefix); err != nil {
		return "", err
	}
	if strings.HasPrefix(prefix, "$") {
		return "", fmt.Errorf("topic prefix %q begins with $: brokers retain no message on such a topic, and the status must be retained; choose a prefix such as dt/gnomon", prefix)
	}
	if err := validateLevel("thing", thing); err != nil {
		return "", err
	}
	return checked(prefix + "/" + thing + "/status")
}

// ValidateTopic checks a topic to publish on: valid UTF-8 without control characters and wildcards, no empty level,
// no $ at its beginning except for $aws/, at most MaxTopicBytes bytes and MaxTopicSlashes slashes, not counting a
// leading $aws/rules/{rule}/.
func ValidateTopic(topic string) error {
	if topic == "" {
		return errors.New("the topic is empty")
	}
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(topic, "$aws/") {
		return fmt.Errorf("topic %q begins with $, which brokers keep for themselves; only topics below $aws/ are allowed", topic)
	}
	counted := topic
	if rest, ok := strings.CutPrefix(topic, basicIngest); ok {
		rule, after, found := strings.Cut(rest, "/")
		if !found || rule == "" || after == "" {
			return fmt.Errorf("topic %q names no topic behind the rule; write %s{rule}/{topic}", topic, basicIngest)
		}
		counted = after
	}
	if len(counted) > MaxTopicBytes {
		return fmt.Errorf("topic %.40q… has %d bytes; at most %d are allowed: shorten the prefix, the thing or the source", topic, len(counted), MaxTopicBytes)
	}
	if n := strings.Count(counted, "/"); n > MaxTopicSlashes {
		return fmt.Errorf("topic %q has %d slashes; at most %d are allowed: use a prefix with fewer levels", topic, n, MaxTopicSlashes)
	}
	if strings.HasPrefix(topic, "/") || strings.HasSuffix(topic, "/") || strings.Contains(topic, "//") {
		return fmt.Errorf("topic %q has an empty level: remove the slash at its beginning or end, or the doubled one", topic)
	}
	return validateText("topic", topic)
}

func validatePrefix(prefix string) error {
	if prefix == "" {
		return errors.New("the topic prefix is empty; write for example dt/gnomon")
	}
	if strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") {
		return fmt.Errorf("topic prefix %q begins or ends with a slash; write it without, for example dt/gnomon", prefix)
	}
	return validateText("topic prefix", prefix)
}

// validateLevel checks a name that becomes one level of a topic.
func validateLevel(what, name string) error {
	if name == "" {
		return fmt.Errorf("the name of the %s is empty; it is one level of the topic", what)
	}
	if strings.Contains(name, "/") {
		return fmt.Errorf("%s %q has a slash in it; it is one level of the topic, so use a hyphen instead", what, name)
	}
	return validateText(what, name)
}

// validateText refuses what MQTT 3.1.1 (sections 1.5.3 and 4.7) doesn't allow, or advises against, in a topic name.
func validateText(what, s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s %q is not valid UTF-8", what, s)
	}
	for _, r := range s {
		switch {
		case r == '+' || r == '#':
			return fmt.Errorf("%s %q has the wildcard %q in it, which only a subscription may have", what, s, r)
		case unicode.IsControl(r):
			return fmt.Errorf("%s %q has the control character %U in it; remove it", what, s, r)
		}
	}
	return nil
}

// maxRule is the longest name of a rule in bytes, as AWS IoT Core has it.
const maxRule = 128

// validateRule checks the name of a rule for Basic Ingest: letters, digits and underscores, as AWS IoT Core has it.
func validateRule(class Class, rule string) error {
	if !class.Valid() {
		return fmt.Errorf("basic ingest names the class %d, which doesn't exist", class)
	}
	bad := func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}
	if len(rule) > maxRule || strings.ContainsFunc(rule, bad) {
		return fmt.Errorf("basic ingest of %s names the rule %.130q; a rule's name has at most %d letters, digits and underscores", class, rule, maxRule)
	}
	return nil
}

func checked(topic string) (string, error) {
	if err := ValidateTopic(topic); err != nil {
		return "", err
	}
	return topic, nil
}
