package aws

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestGuide holds docs/aws.md against the template: the names and outputs that it uses exist, and its commands are
// shell. Those that devcloud can answer are run in devcloud/interop.
func TestGuide(t *testing.T) {
	data, err := os.ReadFile("../../docs/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	guide, s := string(data), openStack(t, nil)
	for _, found := range regexp.MustCompile(`\$\(output (\w+)\)`).FindAllStringSubmatch(guide, -1) {
		if s.section("Outputs")[found[1]] == nil {
			t.Errorf("the guide uses the output %s, which the template does not have", found[1])
		}
	}
	known := map[string]bool{"gnomon-0421": true} // a thing
	for _, r := range s.section("Resources") {
		for member, value := range s.resolve(r.(object)["Properties"]).(object) {
			if text, ok := value.(string); ok && (strings.HasSuffix(member, "Name") || member == "RoleAlias") {
				known[text] = true
			}
		}
	}
	for _, found := range regexp.MustCompile(`[^/\w](gnomon[-_/][a-z0-9]+(-[a-z]+)*)`).FindAllStringSubmatch(guide, -1) {
		if !known[found[1]] {
			t.Errorf("the guide speaks of %s, which the template does not make", found[1])
		}
	}
	for _, found := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (`([^`]*)`|none) \\|").FindAllStringSubmatch(guide, -1) {
		says := strings.NewReplacer("`", "", "none", "").Replace(found[2])
		if value, ok := s.values[found[1]]; ok && says != fmt.Sprint(value) {
			t.Errorf("the guide says that %s is %s; it is %v", found[1], found[2], value)
		}
	}
	for name := range s.section("Parameters") {
		if !strings.Contains(guide, "\n| `"+name+"` |") {
			t.Errorf("the guide does not have the parameter %s", name)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash, which would look at the commands, is not installed")
	}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(guide, -1) {
		cmd := exec.CommandContext(t.Context(), bash, "-n")
		cmd.Stdin = strings.NewReader(block[1])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s\n%s", err, out, block[1])
		}
	}
}
