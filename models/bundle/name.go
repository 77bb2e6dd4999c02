package bundle

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names, those of models/store, which refuses longer ones.
const (
	maxPath    = 1024 // bytes in a name with its folders
	maxElement = 255  // bytes in one element of it: NAME_MAX of Linux
)

// checkName accepts names that stay below their folder on every system, that can be shown to people, and that
// models/store does not use itself. The text continues a sentence that begins with the name; "" is for a good one.
func checkName(name string) string {
	const (
		storeMeta = "version.json"
		storeTemp = ".tmp"
		whiteout  = ".wh." // OCI image specification, layer.md
	)
	switch {
	case name == "" || len(name) > maxPath:
		return fmt.Sprintf("must have 1 to %d bytes", maxPath)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has characters that cannot be printed"
	case strings.ContainsAny(name, `\:`):
		return "has a backslash or a colon"
	case path.IsAbs(name):
		return "is an absolute name"
	case !filepath.IsLocal(name) || path.Clean(name) != name || name == ".":
		return "must lie in the model's folder and be written in the shortest way"
	case name == storeMeta || strings.HasSuffix(name, storeTemp):
		return "is a name that the store of this device uses itself; rename it"
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > maxElement {
			return fmt.Sprintf("has an element of more than %d bytes", maxElement)
		}
		if strings.HasPrefix(element, whiteout) {
			return "deletes a file of an earlier layer, which is not done here; build the image without that file"
		}
	}
	return ""
}

// fromMac tells whether macOS made the entry on the side: resource forks and the views of folders.
func fromMac(name string) bool {
	base := path.Base(name)
	return base == ".DS_Store" || strings.HasPrefix(base, "._")
}
