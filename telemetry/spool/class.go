package spool

// Class says how important a record is: which goes first, and which is given up first when there is no room.
type Class uint8

// The classes, the most important first. The numbers are in the file: they must not change.
const (
	Events Class = iota
	Detections
	Metrics
	Logs
	// NumClasses is how many there are.
	NumClasses = 4
)

// String is the class's name, as in configuration and messages.
func (c Class) String() string {
	switch c {
	case Events:
		return "events"
	case Detections:
		return "detections"
	case Metrics:
		return "metrics"
	case Logs:
		return "logs"
	}
	return "unknown"
}

// Valid reports whether c is one of the classes.
func (c Class) Valid() bool { return c < NumClasses }
