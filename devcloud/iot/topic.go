package iot

import "strings"

const (
	reservedPrefix = "$aws/"
	rulesPrefix    = "$aws/rules/"
	thingsPrefix   = "$aws/things/"
	sharePrefix    = "$share/"

	certificatesPrefix = "$aws/certificates/"
	templatesPrefix    = "$aws/provisioning-templates/"
)

// counted is the part of a topic that the limits are about: a Basic Ingest topic without "$aws/rules/{rule}/", and a
// shared filter without "$share/{group}/".
func counted(topic string) string {
	for _, prefix := range []string{rulesPrefix, sharePrefix} {
		if rest, ok := strings.CutPrefix(topic, prefix); ok {
			_, rest, _ = strings.Cut(rest, "/")
			return rest
		}
	}
	return topic
}

// withinLimits reports whether a topic or a filter has a length and a depth that AWS IoT takes.
func withinLimits(topic string) bool {
	part := counted(topic)
	return len(part) <= maxTopic && strings.Count(part, "/") <= maxSlashes
}

func isReserved(topic string) bool { return strings.HasPrefix(topic, "$") }

// isIngest reports whether a topic goes straight to a rule.
func isIngest(topic string) bool {
	rule, rest, ok := strings.Cut(strings.TrimPrefix(topic, rulesPrefix), "/")
	return strings.HasPrefix(topic, rulesPrefix) && ok && rule != "" && rest != ""
}

// shadowTopic takes "$aws/things/{thing}/shadow[/name/{name}]/{rest}" apart; false: it is none.
func shadowTopic(topic string) (thing, rest string, ok bool) {
	path, ok := strings.CutPrefix(topic, thingsPrefix)
	if !ok {
		return "", "", false
	}
	thing, path, ok = strings.Cut(path, "/")
	if !ok || thing == "" {
		return "", "", false
	}
	if path, ok = strings.CutPrefix(path, "shadow/"); !ok {
		return "", "", false
	}
	if named, is := strings.CutPrefix(path, "name/"); is {
		name, path, ok := strings.Cut(named, "/")
		return thing, path, ok && name != ""
	}
	return thing, path, true
}

// isShadowRequest reports whether a client may publish there: what the service answers on is the service's alone.
func isShadowRequest(topic string) bool {
	_, rest, ok := shadowTopic(topic)
	return ok && (rest == "get" || rest == "update" || rest == "delete")
}

// isProvisioning reports whether a topic or a filter is the provisioning service's.
func isProvisioning(topic string) bool {
	return strings.HasPrefix(topic, certificatesPrefix) || strings.HasPrefix(topic, templatesPrefix)
}

// isProvisioningRequest reports whether a client may publish there: the look-alike makes certificates from signing
// requests, and speaks JSON.
func isProvisioningRequest(topic string) bool {
	if topic == certificatesPrefix+"create-from-csr/json" {
		return true
	}
	rest, ok := strings.CutPrefix(topic, templatesPrefix)
	template, rest, _ := strings.Cut(rest, "/")
	return ok && template != "" && rest == "provision/json"
}

// isServiceRequest reports whether one of AWS's services answers what is published there.
func isServiceRequest(topic string) bool {
	return isShadowRequest(topic) || isProvisioningRequest(topic)
}

func isWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }
