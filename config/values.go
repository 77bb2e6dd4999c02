package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gnomon/config/yamldoc"
)

// Duration is a length of time, in YAML a number with a unit such as 10s, 500ms or 1m30s.
type Duration time.Duration

// durationPattern is what time.ParseDuration takes, without signs and without a bare 0.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

var durationForm = regexp.MustCompile(durationPattern)

// UnmarshalNode implements yamldoc.Unmarshaler.
func (d *Duration) UnmarshalNode(n yamldoc.Node) error {
	switch n.Kind() {
	case yamldoc.Text:
		if !durationForm.MatchString(n.Text()) {
			break
		}
		v, err := time.ParseDuration(n.Text())
		if err != nil { // the form is right, so it is too long for 64 bits of nanoseconds
			return fmt.Errorf("is out of range: %q", n.Text())
		}
		*d = Duration(v)
		return nil
	case yamldoc.Number:
		return fmt.Errorf("must have a unit; write %ss for seconds", n.Text())
	}
	return fmt.Errorf("must be a duration such as 10s, 500ms or 1m30s, not %s", n.Describe())
}

// String is the duration as YAML has it.
func (d Duration) String() string { return time.Duration(d).String() }

// Count is a number from 1 to MaxCount, or 0 for auto: the program chooses what fits the machine.
type Count int

// MaxCount is the largest Count: more threads or sessions than that help on no machine that gnomon runs on, and each
// takes memory.
const MaxCount = 64

// autoWord stands for a Count of 0.
const autoWord = "auto"

// UnmarshalNode implements yamldoc.Unmarshaler.
func (c *Count) UnmarshalNode(n yamldoc.Node) error { return readCount(n, MaxCount, (*int)(c)) }

// String is the count as YAML has it.
func (c Count) String() string { return countText(int(c)) }

// check is UnmarshalNode's rule for a value made in Go.
func (c Count) check() error { return checkCount(int(c), MaxCount) }

// Batch is a number of frames from 1 to MaxBatch, or 0 for auto: what the provider gains from.
type Batch int

// MaxBatch is the largest Batch: beyond it no provider gains anything, and frames wait for each other.
const MaxBatch = 32

// UnmarshalNode implements yamldoc.Unmarshaler.
func (b *Batch) UnmarshalNode(n yamldoc.Node) error { return readCount(n, MaxBatch, (*int)(b)) }

// String is the number as YAML has it.
func (b Batch) String() string { return countText(int(b)) }

// check is UnmarshalNode's rule for a value made in Go.
func (b Batch) check() error { return checkCount(int(b), MaxBatch) }

func readCount(n yamldoc.Node, most int, into *int) error {
	switch n.Kind() {
	case yamldoc.Text:
		if n.Text() == autoWord {
			*into = 0
			return nil
		}
	case yamldoc.Number:
		var v int
		if !n.Decode(&v) {
			return nil
		}
		if *into = v; v == 0 { // which stands for auto in Go alone
			return fmt.Errorf("must be auto or from 1 to %d, not 0", most)
		}
		return checkCount(v, most)
	}
	return fmt.Errorf("must be auto or a whole number from 1 to %d, not %s", most, n.Describe())
}

func checkCount(v, most int) error {
	if v < 0 || v > most {
		return fmt.Errorf("must be auto or from 1 to %d, not %d", most, v)
	}
	return nil
}

func countText(v int) string {
	if v == 0 {
		return autoWord
	}
	return strconv.Itoa(v)
}

// Size is a number of bytes, in YAML a whole number with a unit: 500KB, 20MB, 4GB (powers of 1000), or a bare 0.
type Size int64

// The units of Size.
const (
	kilobyte = 1000
	megabyte = 1000 * kilobyte
	gigabyte = 1000 * megabyte
)

const sizePattern = `^[0-9]{1,9}(B|KB|MB|GB)$`

// UnmarshalNode implements yamldoc.Unmarshaler.
func (s *Size) UnmarshalNode(n yamldoc.Node) error {
	text := n.Text()
	switch n.Kind() {
	case yamldoc.Number:
		if text == "0" {
			*s = 0
			return nil
		}
		return fmt.Errorf("must have a unit; write %sB for bytes, or KB, MB, GB", text)
	case yamldoc.Text:
		if !matches(sizePattern, text) {
			break
		}
		unit := int64(1)
		for suffix, v := range map[string]int64{"KB": kilobyte, "MB": megabyte, "GB": gigabyte} {
			if strings.HasSuffix(text, suffix) {
				unit = v
			}
		}
		v, err := strconv.ParseInt(strings.TrimRight(text, "BKMG"), 10, 64)
		if err != nil {
			return fmt.Errorf("is no size: %q", text)
		}
		*s = Size(v * unit) // nine digits of gigabytes fit
		return nil
	}
	return fmt.Errorf("must be a size such as 20MB or 4GB, not %s", n.Describe())
}

// String is the size as YAML has it.
func (s Size) String() string {
	for _, u := range [...]struct {
		v    Size
		name string
	}{{gigabyte, "GB"}, {megabyte, "MB"}, {kilobyte, "KB"}} {
		if s != 0 && s%u.v == 0 {
			return strconv.FormatInt(int64(s/u.v), 10) + u.name
		}
	}
	if s == 0 {
		return "0"
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}
