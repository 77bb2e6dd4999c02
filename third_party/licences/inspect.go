package main

import (
	"fmt"
	"slices"
	"strings"
)

// allowed are the licences that may be linked without further thought: they ask for their text and notices to go
// along, and for nothing about the rest of the program.
func allowed() []string {
	return []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}
}

// choice is what we take of a module whose texts offer several licences to choose from. All other modules with
// several texts are held to all of them at once.
type choice struct {
	module  string
	offered []string // what its texts are classified as, sorted
	taken   []string
	shown   string // what the document says
}

func choices() []choice {
	return []choice{{
		module:  "github.com/eclipse/paho.mqtt.golang",
		offered: []string{"BSD-3-Clause", "EPL-2.0"},
		taken:   []string{"BSD-3-Clause"}, // the EDL-1.0 is the BSD-3-Clause of the Eclipse Foundation
		shown:   "BSD-3-Clause (EDL-1.0, chosen over EPL-2.0)",
	}, {
		module:  "github.com/opencontainers/go-digest",
		offered: []string{"Apache-2.0", "CC-BY-SA-4.0"},
		taken:   []string{"Apache-2.0"}, // the other is for its documentation, of which nothing is linked
		shown:   "Apache-2.0",
	}}
}

// fact is what the module cache says about a linked module.
type fact struct {
	row          // use is left empty
	users string // who imports it
}

// inspect reads the texts of modules. What is wrong with their licences comes as one line each.
func inspect(modules []module) (facts []fact, wrong []string, err error) {
	for _, m := range modules {
		texts, err := findTexts(m)
		if err != nil {
			return nil, nil, err
		}
		f, problems := assess(m, texts)
		facts = append(facts, f)
		wrong = append(wrong, problems...)
	}
	return facts, wrong, nil
}

// assess makes a fact of a module's texts and checks its licences against those allowed.
func assess(m module, texts []text) (fact, []string) {
	var wrong, ids, names []string
	for _, t := range texts {
		names = append(names, "`"+t.name+"`")
		if !t.terms {
			continue
		}
		found := classify(t.content)
		if len(found) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s %s: %s is no licence that third_party/licences/classify.go knows: read it and add a rule", m.path, m.version, t.name))
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 && len(wrong) == 0 {
		wrong = append(wrong, fmt.Sprintf("%s %s has no licence text at its root or beside its linked packages: without one it may not be linked", m.path, m.version))
	}
	shown, taken := strings.Join(ids, " AND "), ids
	for _, c := range choices() {
		if c.module != m.path {
			continue
		}
		if slices.Equal(c.offered, ids) {
			shown, taken = c.shown, c.taken
		} else {
			wrong = append(wrong, fmt.Sprintf("%s %s used to offer the choice of %s and now has %s: look at its terms and correct choices in third_party/licences/inspect.go",
				m.path, m.version, strings.Join(c.offered, " or "), strings.Join(ids, " and ")))
		}
	}
	for _, id := range taken {
		if !slices.Contains(allowed(), id) {
			wrong = append(wrong, fmt.Sprintf("%s %s is under %s, which is not on the list of allowed licences (%s): do without it, or see to its terms and extend third_party/licences/inspect.go",
				m.path, m.version, id, strings.Join(allowed(), ", ")))
		}
	}
	return fact{
		row:   row{module: m.path, version: m.version, licence: shown, holder: holders(texts), texts: strings.Join(names, ", ")},
		users: strings.Join(m.users, ", "),
	}, wrong
}
