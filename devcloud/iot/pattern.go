package iot

import (
	"errors"
	"strings"
)

// maxPieces bounds the work of one match.
const maxPieces = 64

// pattern is an action or a resource of a policy: text with the wildcards * (any characters, / included) and ? (one
// character), and variables ${…}. The wildcards + and # of MQTT have no meaning in it, and neither have * and ? in
// what a variable stands for.
type pattern []piece

type piece struct {
	kind pieceKind
	text string // literal text, or the name of the variable
}

type pieceKind int

const (
	literal pieceKind = iota
	anything
	oneCharacter
	variable
)

func parsePattern(text string) (pattern, error) {
	p := pattern{}
	for text != "" {
		if len(p) >= maxPieces {
			return nil, errors.New("it has too many wildcards and variables")
		}
		switch {
		case text[0] == '*':
			p, text = append(p, piece{kind: anything}), text[1:]
		case text[0] == '?':
			p, text = append(p, piece{kind: oneCharacter}), text[1:]
		case strings.HasPrefix(text, "${"):
			name, rest, closed := strings.Cut(text[2:], "}")
			if !closed {
				return nil, errors.New("a variable has no closing brace")
			}
			text = rest
			switch name {
			case "*", "?", "$": // how the language writes these characters themselves
				p = append(p, piece{literal, name})
			case "iot:Connection.Thing.ThingName", "iot:ClientId", "iot:Certificate.Subject.CommonName":
				p = append(p, piece{variable, name})
			default:
				return nil, errors.New("the variable ${" + name + "} is not one that this look-alike knows")
			}
		default:
			end := strings.IndexAny(text[1:], "*?$") + 1
			if end == 0 {
				end = len(text)
			}
			p, text = append(p, piece{literal, text[:end]}), text[end:]
		}
	}
	return p, nil
}

// match compares all of text. The last * is the only place to go back to, so the work is bounded by the product of
// the two lengths.
func (p pattern) match(text string, value func(name string) (string, bool)) bool {
	back, backText := -1, ""
	i := 0
	for {
		if i == len(p) {
			if text == "" {
				return true
			}
		} else {
			switch part := p[i]; part.kind {
			case anything:
				back, backText = i, text
				i++
				continue
			case oneCharacter:
				if text != "" {
					text, i = text[1:], i+1
					continue
				}
			default:
				want := part.text
				if part.kind == variable {
					var known bool
					if want, known = value(part.text); !known {
						return false
					}
				}
				if rest, ok := strings.CutPrefix(text, want); ok {
					text, i = rest, i+1
					continue
				}
			}
		}
		if back < 0 || backText == "" {
			return false
		}
		backText = backText[1:]
		text, i = backText, back+1
	}
}
