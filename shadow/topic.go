package shadow

import (
	"fmt"
	"strings"
)

// Longest names that AWS IoT allows; with both at their longest a topic stays below the broker's 256 bytes.
const (
	maxThingName  = 128
	maxShadowName = 64
)

// The topics of one shadow, below its prefix. update/documents is left out: it repeats what GET says, at twice the
// size. delete/rejected is left out because the device never deletes.
const (
	topicGet            = "get"
	topicGetAccepted    = "get/accepted"
	topicGetRejected    = "get/rejected"
	topicUpdate         = "update"
	topicUpdateAccepted = "update/accepted"
	topicUpdateRejected = "update/rejected"
	topicUpdateDelta    = "update/delta"
	topicDeleteAccepted = "delete/accepted"
)

// prefix is what all topics of the shadow begin with, the last slash included.
func prefix(thing, name string) string {
	if name == "" {
		return "$aws/things/" + thing + "/shadow/"
	}
	return "$aws/things/" + thing + "/shadow/name/" + name + "/"
}

// filters are the subscriptions: six, in one SUBSCRIBE (AWS allows eight), and no wildcard, because a wildcard below
// shadow/ delivers the device's own requests as well and needs a wider policy.
func filters(prefix string) []string {
	return []string{
		prefix + topicGetAccepted,
		prefix + topicGetRejected,
		prefix + topicUpdateAccepted,
		prefix + topicUpdateRejected,
		prefix + topicUpdateDelta,
		prefix + topicDeleteAccepted,
	}
}

// checkName refuses what AWS IoT refuses, and with it everything that has a meaning in a topic: / + # and $.
func checkName(what, name string, longest int) error {
	if name == "" {
		return fmt.Errorf("the %s is empty: write the name as it is registered in AWS IoT", what)
	}
	if len(name) > longest {
		return fmt.Errorf("the %s is %d characters long, AWS IoT allows %d: write a shorter one", what, len(name), longest)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !nameRune(r) }); i >= 0 {
		return fmt.Errorf("the %s %q has a character that AWS IoT does not allow at position %d: "+
			"write letters a-z A-Z, digits, colon, underscore and hyphen only", what, name, i+1)
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == ':' || r == '_' || r == '-'
}
