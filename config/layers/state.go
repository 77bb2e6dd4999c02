package layers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// MaxState bounds an encoded State, in bytes: two layers of settings of usual length, several times over.
const MaxState = 1 << 20

// State is what a Stack has to find again at the next start.
type State struct {
	Parameters KeptLayer `json:"parameters"`
	Shadow     KeptLayer `json:"shadow"`
	// Sources are the shadow's settings of sources as older programs kept them; DecodeState moves them into Shadow.
	Sources []Setting `json:"sources,omitempty"`
}

// KeptLayer is one layer: what is wanted, and what is in use of it.
type KeptLayer struct {
	Want []Setting `json:"want,omitempty"`
	Good []Setting `json:"good,omitempty"`
}

// Empty reports whether the cloud has set nothing.
func (s State) Empty() bool {
	return len(s.Parameters.Good)+len(s.Parameters.Want)+len(s.Shadow.Good)+len(s.Shadow.Want)+len(s.Sources) == 0
}

// State is what to keep. The texts of SecureStrings are in it.
func (s *Stack) State() State {
	var kept [layerCount]KeptLayer
	for i := range s.layers {
		l := &s.layers[i]
		kept[i].Want = slices.Clone(l.want)
		for _, name := range slices.Sorted(maps.Keys(l.good)) {
			kept[i].Good = append(kept[i].Good, l.good[name])
		}
	}
	return State{Parameters: kept[Parameters], Shadow: kept[Shadow]}
}

// Encode is the state as text, for a file that its owner alone may read.
func (s State) Encode() ([]byte, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("keep the settings from the cloud: %w", err)
	}
	if len(data) > MaxState {
		return nil, fmt.Errorf("keep the settings from the cloud: they have %d bytes, more than the %d that are kept; shorten them", len(data), MaxState)
	}
	return data, nil
}

// DecodeState reads what Encode wrote. Whether the settings are good is for New to say.
func DecodeState(data []byte) (State, error) {
	var s State
	if len(data) > MaxState || json.Unmarshal(data, &s) != nil { // what a parser says about it may repeat a value
		return State{}, errors.New("the settings from the cloud that were kept are damaged; they are fetched again")
	}
	for _, list := range [...]*[]Setting{&s.Parameters.Want, &s.Parameters.Good, &s.Shadow.Want, &s.Shadow.Good, &s.Sources} {
		*list = (*list)[:min(len(*list), maxSettings)]
	}
	s.Shadow.Want = append(s.Shadow.Want, former(s.Sources)...)
	s.Sources = nil
	return s, nil
}

// former makes entries of the single settings that older programs kept, whose texts are JSON.
func former(settings []Setting) []Setting {
	byName := map[string]map[string]json.RawMessage{}
	for _, one := range settings {
		if name := one.source(); name != "" && len(one.Path) == 3 && json.Valid([]byte(one.Text)) {
			if byName[name] == nil {
				byName[name] = map[string]json.RawMessage{}
			}
			byName[name][one.Path[2]] = json.RawMessage(one.Text)
		}
	}
	var entries []Setting
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if text, err := json.Marshal(byName[name]); err == nil {
			entries = append(entries, Setting{Path: []string{sourcesKey, name}, Text: string(text)})
		}
	}
	return entries
}
