package ssm

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// request holds the fields of all calls; each call looks at its own.
type request struct {
	Name, Path, Value, Type, NextToken string
	Names                              []string
	Recursive, WithDecryption          bool
	Overwrite                          bool
	MaxResults                         *int
}

// answer is a Parameter of the API.
type answer struct {
	Name, Type, Value, ARN, DataType string
	Version                          int64
	LastModifiedDate                 float64
}

const (
	maxName   = 1011 // characters, the service's own limit without the ARN
	maxLevels = 15   // parts of a hierarchy
)

var nameForm = regexp.MustCompile(`^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)

func checkName(name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) || strings.Count(name, "/") > maxLevels {
		return fail("ValidationException",
			"Parameter name: use letters, digits and _.-/ in at most %d levels and %d characters", maxLevels, maxName)
	}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(name, "/")), "/")
	if strings.HasPrefix(first, "aws") || strings.HasPrefix(first, "ssm") {
		return fail("ValidationException", "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive)")
	}
	return nil
}

// answer shows a parameter; without decryption a SecureString is a blob that says nothing about the value.
func (s *Store) answer(name string, decrypt bool) answer {
	p := s.values[name]
	value := p.Value
	if p.Type == "SecureString" && !decrypt {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s:%d", name, p.Version))
		value = "AQICAH" + base64.StdEncoding.EncodeToString(sum[:])
	}
	return answer{
		Name: name, Type: p.Type, Value: value, DataType: "text", Version: p.Version, LastModifiedDate: p.Modified,
		ARN: "arn:aws:ssm:" + s.options.Region + ":" + s.options.Account + ":parameter/" + strings.TrimPrefix(name, "/"),
	}
}

func (s *Store) one(in request) (any, error) {
	if _, ok := s.values[in.Name]; !ok {
		return nil, fail("ParameterNotFound", "No such parameter")
	}
	return map[string]any{"Parameter": s.answer(in.Name, in.WithDecryption)}, nil
}

func (s *Store) some(in request) (any, error) {
	if len(in.Names) == 0 || len(in.Names) > maxPage {
		return nil, fail("ValidationException", "Names: give 1 to %d", maxPage)
	}
	found, invalid := []answer{}, []string{}
	for _, name := range in.Names {
		if _, ok := s.values[name]; ok {
			found = append(found, s.answer(name, in.WithDecryption))
		} else {
			invalid = append(invalid, name)
		}
	}
	return map[string]any{"Parameters": found, "InvalidParameters": invalid}, nil
}

func (s *Store) put(in request, now time.Time) (any, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	old, exists := s.values[in.Name]
	switch {
	case exists && !in.Overwrite:
		return nil, fail("ParameterAlreadyExists", "The parameter already exists. To overwrite it, set Overwrite")
	case in.Value == "" || len(in.Value) > maxValue:
		return nil, fail("ValidationException", "Value: 1 to %d bytes", maxValue)
	case !exists && len(s.values) >= maxParameters:
		return nil, fail("ParameterLimitExceeded", "There are %d parameters already", maxParameters)
	}
	if in.Type == "" && exists {
		in.Type = old.Type
	}
	if !slices.Contains([]string{"String", "StringList", "SecureString"}, in.Type) {
		return nil, fail("ValidationException", "Type: String, StringList or SecureString")
	}
	modified := float64(now.UnixMilli()) / 1e3 // the protocol counts seconds
	s.values[in.Name] = parameter{Type: in.Type, Value: in.Value, Version: old.Version + 1, Modified: modified}
	if err := s.save(); err != nil {
		if exists {
			s.values[in.Name] = old
		} else {
			delete(s.values, in.Name)
		}
		return nil, err
	}
	return map[string]any{"Version": old.Version + 1, "Tier": "Standard"}, nil
}

func (s *Store) remove(in request) (any, error) {
	old, ok := s.values[in.Name]
	if !ok {
		return nil, fail("ParameterNotFound", "No such parameter")
	}
	delete(s.values, in.Name)
	if err := s.save(); err != nil {
		s.values[in.Name] = old
		return nil, err
	}
	return struct{}{}, nil
}

// cursor is what a NextToken holds: the last name that was handed out, and whether an empty page comes next.
type cursor struct {
	Path, After string
	Empty       bool
}

// byPath lists a hierarchy in order of names. After the first full page comes an empty one that still carries a
// token: the real service does that at times, and a client that stops there loses parameters.
func (s *Store) byPath(in request) (any, error) {
	if !strings.HasPrefix(in.Path, "/") || (in.Path != "/" && !nameForm.MatchString(strings.TrimSuffix(in.Path, "/"))) {
		return nil, fail("ValidationException", "Path: a hierarchy that begins with a slash, such as /gnomon/")
	}
	page := maxPage
	if in.MaxResults != nil {
		page = *in.MaxResults
	}
	if page < 1 || page > maxPage {
		return nil, fail("ValidationException", "MaxResults: 1 to %d", maxPage)
	}
	at := cursor{Path: in.Path}
	if in.NextToken != "" {
		data, err := base64.RawURLEncoding.DecodeString(in.NextToken)
		if err != nil || json.Unmarshal(data, &at) != nil || at.Path != in.Path || at.After == "" {
			return nil, fail("InvalidNextToken", "The specified token isn't valid")
		}
	}
	found := []answer{}
	if at.Empty {
		at.Empty = false
		return map[string]any{"Parameters": found, "NextToken": at.token()}, nil
	}
	prefix := strings.TrimSuffix(in.Path, "/") + "/"
	for _, name := range slices.Sorted(maps.Keys(s.values)) {
		rest, below := strings.CutPrefix(name, prefix)
		if !below || name <= at.After || (!in.Recursive && strings.Contains(rest, "/")) {
			continue
		}
		if len(found) == page {
			next := cursor{Path: in.Path, After: found[page-1].Name, Empty: at.After == ""}
			return map[string]any{"Parameters": found, "NextToken": next.token()}, nil
		}
		found = append(found, s.answer(name, in.WithDecryption))
	}
	return map[string]any{"Parameters": found}, nil
}

func (c cursor) token() string {
	data, _ := json.Marshal(c) // two strings and a bool: it cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}
