package yamldoc

import (
	"fmt"
	"strings"
)

// unknownKey is the sentence for a key that where ("" for the top level) does not have.
func unknownKey(key, where string, known []string) string {
	if where == "" {
		where = "the top level"
	}
	s := fmt.Sprintf("unknown key %s in %s", quote(key), where)
	if near, ok := nearest(key, known); ok {
		return s + fmt.Sprintf("; did you mean %q?", near)
	}
	return s + "; its keys are " + strings.Join(known, ", ")
}

// minPrefix is the shortest beginning of a known key that counts as meaning it.
const minPrefix = 3

// nearest finds the known key that key is most likely a slip for: at most one edit in three characters away, or its
// beginning. Among equals the first wins.
func nearest(key string, known []string) (string, bool) {
	lower := strings.ToLower(key)
	best, found := max(1, len(lower)/3)+1, ""
	for _, k := range known {
		if d := distance(lower, k); d < best {
			best, found = d, k
		}
	}
	if found != "" {
		return found, true
	}
	for _, k := range known {
		if len(lower) >= minPrefix && (strings.HasPrefix(k, lower) || strings.HasPrefix(lower, k)) {
			return k, true
		}
	}
	return "", false
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that turn a into b: the
// optimal string alignment distance, with three rows of the usual table.
func distance(a, b string) int {
	if len(a) > maxShown { // no key is that long, and the table grows with the length
		return len(a)
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
