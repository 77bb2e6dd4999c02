package child

import (
	"errors"
	"fmt"
	"strings"
)

// split makes words of a command or a pipeline as a shell does (POSIX, Shell Command Language, 2.2 Quoting) and does nothing else that
// a shell would: no variables, patterns, pipes or redirections.
func split(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun := false
	for i := 0; i < len(text); i++ {
		b := text[i]
		switch {
		case blank(b):
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
			continue
		case b == '\'':
			n := strings.IndexByte(text[i+1:], '\'')
			if n < 0 {
				return nil, errors.New("a ' has no second one")
			}
			word.WriteString(text[i+1 : i+1+n])
			i += n + 1
		case b == '"':
			n, err := quoted(&word, text[i+1:])
			if err != nil {
				return nil, err
			}
			i += n
		case b == '\\':
			if i++; i == len(text) {
				return nil, errors.New(`there is nothing behind the last \`)
			}
			if text[i] == '\n' { // a line that goes on
				continue
			}
			word.WriteByte(text[i])
		case b == 0:
			return nil, errors.New("there is a zero byte in it")
		default:
			word.WriteByte(b)
		}
		begun = true
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

// quoted appends what stands before the next " and returns how long that is, with the ".
func quoted(word *strings.Builder, text string) (int, error) {
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '"':
			return i + 1, nil
		case b == '\\' && i+1 < len(text) && strings.IndexByte("\\\"$`\n", text[i+1]) >= 0:
			if i++; text[i] != '\n' {
				word.WriteByte(text[i])
			}
		default:
			word.WriteByte(b)
		}
	}
	return 0, errors.New(`a " has no second one`)
}

func blank(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

// shellOnly finds a word that only a shell understands.
func shellOnly(words []string) error {
	for _, w := range words {
		switch w {
		case "|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1", "2>/dev/null", ">/dev/null":
			return fmt.Errorf("%s means something to a shell only, and there is none; write exec:sh -c '…' around the command", w)
		}
	}
	return nil
}
