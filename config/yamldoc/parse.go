package yamldoc

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parse turns text into the tree of its one document; nil when the document is empty.
func parse(data []byte) (root ast.Node, problem *Problem) {
	if len(data) > MaxSize {
		return nil, &Problem{Line: 1, Col: 1, Message: fmt.Sprintf("the file has %d bytes, more than the %d that are allowed", len(data), MaxSize)}
	}
	data = trimBOM(data)
	if p := checkText(data); p != nil {
		return nil, p
	}
	// The parser is a third party's and what it reads may be hostile: a slip of it must not take the process down.
	defer func() {
		if recover() != nil {
			root, problem = nil, &Problem{Line: 1, Col: 1, Message: "this is not valid YAML"}
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if p := checkTokens(tokens); p != nil {
		return nil, p
	}
	// Double keys are let through here and found by the binder, which can say where the first one stands.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxProblem(err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			p := at(doc.Body)
			return nil, &Problem{Line: p.line, Col: p.col, Message: "a second document begins here; the file must have only one, so remove the --- line and what does not belong"}
		}
		root = doc.Body
	}
	return root, nil
}

// checkText refuses what is not text: a binary file under a wrong name gets a clear answer.
func checkText(data []byte) *Problem {
	line, col := 1, 0
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		data = data[size:]
		col++
		switch {
		case r == utf8.RuneError && size == 1:
			return &Problem{Line: line, Col: col, Message: "this is not UTF-8 text"}
		case r == '\n':
			line, col = line+1, 0
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return &Problem{Line: line, Col: col, Message: fmt.Sprintf("the control character U+%04X is not allowed; is this a text file?", r)}
		}
	}
	return nil
}

// checkTokens refuses the parts of YAML that are left out on purpose, and nesting or numbers of keys that would cost
// the parser its stack or its time.
func checkTokens(tokens token.Tokens) *Problem {
	flow, dashes, dashLine, keys := 0, 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return tokenProblem(t, fmt.Sprintf("anchors and aliases (%s) are not supported; write the value out, or quote it if it is text", quote(t.Value)))
		case token.TagType:
			return tokenProblem(t, fmt.Sprintf("tags (%s) are not supported; remove it, or quote the value if it is text", quote(t.Value)))
		case token.DirectiveType:
			return tokenProblem(t, "directives (%) are not supported; remove the line, or quote the value if it is text")
		case token.MappingKeyType:
			return tokenProblem(t, `keys that begin with "? " are not supported; write them as key: value`)
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			if t.Position.Line != dashLine {
				dashLine, dashes = t.Position.Line, 0
			}
			dashes++
		case token.MappingValueType:
			keys++
		}
		if max(flow, dashes) > MaxDepth {
			return tokenProblem(t, fmt.Sprintf("lists and mappings are nested more than %d deep", MaxDepth))
		}
		if keys > MaxKeys {
			return tokenProblem(t, fmt.Sprintf("the file has more than the %d keys that are allowed", MaxKeys))
		}
	}
	return nil
}

// syntaxProblem is the parser's complaint without the piece of source that it prints along.
func syntaxProblem(err error) *Problem {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		return &Problem{Line: 1, Col: 1, Message: "this is not valid YAML"}
	}
	return tokenProblem(syntax.GetToken(), explain(syntax.GetMessage()))
}

// explain puts the complaints that people meet most in words that say what to do. The rest are passed on, on one line.
func explain(message string) string {
	for _, e := range [...]struct{ part, words string }{
		{"mapping value is not allowed", `a key is not allowed here; indent keys of one mapping alike, write one "key: value" a line, and quote text that has ": " in it`},
		{"map key-value is pre-defined", "a single value is not allowed among keys; is a colon missing, or is this line indented too little?"},
		{"non-map value is specified", `this is not "key: value"; is a colon or the space after it missing?`},
		{"unexpected key name", `this is not "key: value"; is a colon or the space after it missing?`},
		{"tab character", "a tab is not allowed in the indentation; use spaces"},
		{"found character '\t'", "a tab is not allowed in the indentation; use spaces"},
		{"sequence end token ']'", "the list that begins here has no closing ]"},
		{"flow mapping end token '}'", "the mapping that begins here has no closing }"},
		{"end character of double-quoted", "the text that begins here has no closing \""},
		{"end character of single-quoted", "the text that begins here has no closing '"},
		{"block sequence entries are not allowed", `a list may not begin on its key's line; write "- " on a line of its own, or [a, b]`},
		{"is a reserved character", "text may not begin with @ or `; put it in quotes"},
		{"unknown escape character", `this escape is unknown in double quotes; write \\ for a backslash, or use single quotes`},
	} {
		if strings.Contains(message, e.part) {
			return e.words
		}
	}
	return "this is not valid YAML: " + strings.Join(strings.Fields(message), " ")
}

func tokenProblem(t *token.Token, message string) *Problem {
	p := tokenAt(t)
	return &Problem{Line: p.line, Col: p.col, Message: message}
}

func tokenAt(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{max(1, t.Position.Line), max(1, t.Position.Column)}
}
