package shadows

import "strings"

// What a client may ask for; each is the end of a topic as well.
const (
	opGet    = "get"
	opUpdate = "update"
	opDelete = "delete"
)

// Longest names that AWS IoT allows, in bytes.
const (
	maxThing = 128
	maxName  = 64
)

// parseTopic reads $aws/things/{thing}/shadow[/name/{name}]/{op}.
func parseTopic(topic string) (k key, op string, ok bool) {
	rest, ok := strings.CutPrefix(topic, "$aws/things/")
	if !ok {
		return key{}, "", false
	}
	parts := strings.Split(rest, "/")
	switch {
	case len(parts) == 3 && parts[1] == "shadow":
		k, op = key{thing: parts[0]}, parts[2]
	case len(parts) == 5 && parts[1] == "shadow" && parts[2] == "name" && parts[3] != "":
		k, op = key{parts[0], parts[3]}, parts[4]
	}
	known := op == opGet || op == opUpdate || op == opDelete
	return k, op, known && k.valid()
}

// prefix is what the topics of the shadow begin with.
func (k key) prefix() string {
	if k.name == "" {
		return "$aws/things/" + k.thing + "/shadow/"
	}
	return "$aws/things/" + k.thing + "/shadow/name/" + k.name + "/"
}

// valid says whether AWS IoT takes the names. Names that begin with $ are AWS's own, so $ is left out.
func (k key) valid() bool {
	return k.thing != "" && nameForm(k.thing, maxThing) && nameForm(k.name, maxName)
}

func nameForm(name string, longest int) bool {
	return len(name) <= longest && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != ':' && r != '_' && r != '-'
	}) < 0
}
