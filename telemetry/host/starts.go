package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// startsFile is where starts are counted, in the state directory.
const startsFile = "starts.json"

// starts is what is in it.
type starts struct {
	Boot   string `json:"boot"` // the kernel's boot id
	Starts uint64 `json:"starts"`
}

// CountStart notes in dir that the agent starts, and returns how often it had started before since the machine did. Call
// it once. After an error the number is 0. It is a statistic: the file is replaced as a whole, but not synced.
func CountStart(dir string, root fs.FS) (uint64, error) {
	if root == nil {
		root = os.DirFS("/")
	}
	boot, ok := files{root}.text("proc/sys/kernel/random/boot_id")
	if !ok {
		return 0, errors.New("count the starts of the agent: the kernel has no boot id")
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fmt.Errorf("count the starts of the agent: %w", err)
	}
	defer r.Close()
	var s starts
	text, _ := files{r.FS()}.text(startsFile)
	if json.Unmarshal([]byte(text), &s) != nil || s.Boot != boot { // none yet, damaged, or of before
		s = starts{Boot: boot}
	}
	before := s.Starts
	s.Starts++
	data, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	const private = 0o600
	if err = r.WriteFile(startsFile+".tmp", data, private); err == nil {
		err = r.Rename(startsFile+".tmp", startsFile)
	}
	if err != nil {
		return 0, fmt.Errorf("count the starts of the agent: %w", err)
	}
	return before, nil
}
