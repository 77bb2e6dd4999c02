package telemetry

import "testing"

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/+", "a/b", true},
		{"a/+", "a", false},
		{"a/+", "a/b/c", false},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"+/b", "a/b", true},
		{"#", "a/b", true},
		{"#", "$aws/a", false},
		{"+/a", "$aws/a", false},
		{"$aws/+", "$aws/a", true},
		{"a/+/#", "a/b", true},
	} {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.filter, tt.topic, got)
		}
	}
}

func TestGuardSuback(t *testing.T) {
	for _, tt := range []struct {
		asked int
		codes []byte
		ok    bool
	}{{1, []byte{1}, true}, {2, []byte{1, 0x80}, true}, {1, []byte{1, 1}, false}, {2, []byte{1}, false}} {
		var g guard
		if err := g.check(connackOK); err != nil {
			t.Fatal(err)
		}
		g.expectSuback(tt.asked)
		packet := append([]byte{0x90, byte(2 + len(tt.codes)), 0, 1}, tt.codes...)
		if err := g.check(packet); (err == nil) != tt.ok {
			t.Errorf("%d codes for %d filters: %v", len(tt.codes), tt.asked, err)
		}
		if g.check(packet) == nil {
			t.Error("a second SUBACK got through")
		}
	}
}
