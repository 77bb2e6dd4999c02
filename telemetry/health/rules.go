package health

import (
	"fmt"
	"strings"
	"time"
)

// Code names a reason. Codes are part of the interface: rules in the cloud are made of them.
type Code string

// The reasons.
const (
	NoSource            Code = "no_source"            // failed: no source delivers
	ModelBroken         Code = "model_broken"         // failed: the models fail on every frame
	CertificateEnded    Code = "certificate_ended"    // failed: the device can no longer connect
	SourceRetrying      Code = "source_retrying"      // a source is away
	SourceFailed        Code = "source_failed"        // a source is given up
	SourceSilent        Code = "source_silent"        // a source is there and delivers nothing
	PictureFrozen       Code = "picture_frozen"       // a source delivers one picture again and again
	PictureBlack        Code = "picture_black"        // a source delivers black pictures
	ModelFailing        Code = "model_failing"        // a model fails on frames of a source
	ModelRefused        Code = "model_refused"        // the wanted model cannot be used
	ModelRolledBack     Code = "model_rolled_back"    // the wanted model was taken back
	SafeMode            Code = "safe_mode"            // the agent has crashed again and again
	Disconnected        Code = "disconnected"         // there is no connection to the broker
	SpoolDropping       Code = "spool_dropping"       // messages are being lost
	SpoolNearFull       Code = "spool_near_full"      // messages will be lost
	SpoolBroken         Code = "spool_broken"         // messages are kept in memory only
	DiskLow             Code = "disk_low"             // the disk of the state directory is nearly full
	MemoryLow           Code = "memory_low"           // memory is nearly used up
	ClockUnsynchronised Code = "clock_unsynchronised" // nothing keeps the clock right
	Throttled           Code = "throttled"            // the machine is slower than it could be
	CertificateEnds     Code = "certificate_ends"     // the device's certificate ends within 30 days
	ParametersStale     Code = "parameters_stale"     // settings of the fleet have not been read for long
)

// Marks. Where there are two, a reason begins at the first and ends at the second.
const (
	// silence is how long a source that runs may deliver nothing, unless it says more: more than any key frame distance.
	silence = 30 * time.Second

	// A model fails on frames now and then when it is being exchanged, so some are needed to judge.
	leastFrames  = 20
	failingShare = 0.05
	failingOver  = 0.01
	brokenShare  = 0.99
	brokenOver   = 0.90

	spoolNearFull = 0.90
	spoolRoomy    = 0.75

	// A disk is low below 5 % if that is less than 2 GB, and below 256 MB in any case: what the next model needs.
	diskShare  = 0.05
	diskPlenty = 2 << 30
	diskLeast  = 256 << 20
	filesShare = 0.02
	// enough is how much more than at the mark there must be for it to be over.
	enough = 1.25

	memoryShare = 0.05

	// certificateNotice is how long before its end a certificate is told of.
	certificateNotice = 30 * 24 * time.Hour

	// Parameters are stale when three rounds have failed, and not before a quarter of an hour.
	parameterRounds = 3
	parameterLeast  = 15 * time.Minute
)

// patience is how long a reason must hold before it counts, and how long it must be over before it is taken back.
func (c Code) patience() (in, out time.Duration) {
	switch c {
	case NoSource: // a camera that restarts takes a while
		return time.Minute, 10 * time.Second
	case SourceRetrying:
		return 10 * time.Second, time.Minute
	case Disconnected: // the status would not arrive meanwhile anyway; for those who ask on the spot
		return time.Minute, 10 * time.Second
	case SpoolDropping: // it drops a block, then none for a while
		return 0, 10 * time.Minute
	case ClockUnsynchronised: // after a start it takes some minutes
		return 5 * time.Minute, time.Minute
	case Throttled:
		return 10 * time.Second, 2 * time.Minute
	case MemoryLow:
		return 30 * time.Second, 2 * time.Minute
	case SafeMode, SourceFailed, ModelRefused, ModelRolledBack, CertificateEnded, CertificateEnds: // these are decisions, or a date
		return 0, 0
	default:
		return 0, 30 * time.Second
	}
}

// finding is a reason that was seen.
type finding struct {
	code     Code
	subject  string
	severity Status
	message  string
	at       time.Time
	holds    bool // at the mark where it begins; false: only not yet over
}

// look applies the rules. It returns what holds, or is not over if it held before.
func (m *Monitor) look(in *Inputs, now time.Time) []finding {
	l := &findings{}
	if in.SafeMode {
		l.add(SafeMode, "", Degraded, "the agent has crashed again and again: it runs on the processor, and without settings from the cloud")
	}
	l.sources(in.Sources, now)
	l.slots(in.Slots)
	if c := in.Connection; c != nil && !c.Connected {
		l.add(Disconnected, "", Degraded, "there is no connection to the broker"+because(c.Error))
	}
	if in.Spool != nil {
		l.spool(in.Spool, in.Spool.Dropped > m.dropped)
		m.dropped = in.Spool.Dropped
	}
	l.machine(in)
	l.cloud(in, now)
	return l.list
}

// findings collects.
type findings struct{ list []finding }

func (l *findings) add(code Code, subject string, severity Status, message string) *finding {
	l.list = append(l.list, finding{code: code, subject: subject, severity: severity, message: message, holds: true})
	return &l.list[len(l.list)-1]
}

// between adds a reason with two marks.
func (l *findings) between(code Code, subject string, severity Status, holds, notOver bool, message string) {
	if holds || notOver {
		l.add(code, subject, severity, message).holds = holds
	}
}

// because appends a cause, if there is one.
func because(err string) string {
	if err == "" {
		return ""
	}
	return ": " + err
}

func (l *findings) sources(all []Source, now time.Time) {
	wanted, delivering := 0, 0
	var judged, broken, notBroken int
	for _, s := range all {
		if s.State == Ended { // it has done what there was to do
			continue
		}
		wanted++
		quiet := s.State == Running && !s.Last.IsZero() && s.Silence >= 0 && now.Sub(s.Last) > max(silence, s.Silence)
		switch {
		case s.State == Retrying:
			l.add(SourceRetrying, s.Name, Degraded, "the source is away and is tried again"+because(s.Error))
		case s.State == Broken:
			l.add(SourceFailed, s.Name, Degraded, "the source failed and is not tried again"+because(s.Error))
		case quiet:
			l.add(SourceSilent, s.Name, Degraded, fmt.Sprintf("the source is open and has delivered nothing for %v", now.Sub(s.Last).Round(time.Second)))
		case s.State == Running && !s.Last.IsZero():
			delivering++
		}
		if s.State == Running {
			l.picture(PictureFrozen, &s, s.Frozen, "the picture does not change at all; is the camera hung?", now)
			l.picture(PictureBlack, &s, s.Black, "the picture is black; is the lens covered, or the light off?", now)
		}
		if s.Frames < leastFrames {
			continue
		}
		share := float64(s.Failed) / float64(s.Frames)
		judged++
		if share >= brokenShare {
			broken++
		} else if share < brokenOver {
			notBroken++
		}
		l.between(ModelFailing, s.Name, Degraded, share >= failingShare, share > failingOver,
			fmt.Sprintf("the model failed on %d of %d frames", s.Failed, s.Frames))
	}
	if wanted > 0 && delivering == 0 {
		l.add(NoSource, "", Failed, fmt.Sprintf("none of %d sources delivers", wanted))
	}
	l.between(ModelBroken, "", Failed, judged > 0 && broken == judged, judged > 0 && notBroken == 0, "the models fail on every frame of every source")
}

// picture adds what is wrong with the pictures of a source since a moment; zero: nothing.
func (l *findings) picture(code Code, s *Source, since time.Time, message string, now time.Time) {
	if !since.IsZero() {
		l.add(code, s.Name, Degraded, fmt.Sprintf("for %v %s", now.Sub(since).Round(time.Second), message))
	}
}

func (l *findings) slots(all []Slot) {
	for _, s := range all {
		switch s.State {
		case Refused:
			l.add(ModelRefused, s.Name, Degraded, "the model that is wanted cannot be used; the one before runs"+because(s.Error))
		case Banned:
			l.add(ModelRefused, s.Name, Degraded, "the model that is wanted is not tried again; the one before runs"+because(s.Error))
		case RolledBack:
			l.add(ModelRolledBack, s.Name, Degraded, "the model that is wanted was taken back; the one before runs"+because(s.Error))
		}
	}
}

func (l *findings) spool(s *Spool, dropping bool) {
	if s.Error != "" {
		l.add(SpoolBroken, "", Degraded, "messages wait in memory only, and are lost with the process: "+s.Error)
	}
	if dropping {
		l.add(SpoolDropping, "", Degraded, fmt.Sprintf("messages are dropped because too many wait: %d since the start", s.Dropped))
	}
	if s.MaxBytes > 0 {
		share := float64(s.Bytes) / float64(s.MaxBytes)
		l.between(SpoolNearFull, "", Degraded, share >= spoolNearFull, share >= spoolRoomy,
			fmt.Sprintf("the messages that wait take %.0f %% of their room; the oldest and least important are dropped next", 100*share))
	}
}

func (l *findings) machine(in *Inputs) {
	if d := in.Disk; d != nil && d.Total > 0 {
		mark := max(diskLeast, min(diskPlenty, diskShare*float64(d.Total)))
		mark = min(mark, float64(d.Total)/2) // of a small disk half is plenty
		free := float64(d.Available)
		l.between(DiskLow, "", Degraded, free < mark, free < enough*mark,
			fmt.Sprintf("%d MB are left on the disk of the state directory", d.Available/1e6))
		files := filesShare * float64(d.Files)
		l.between(DiskLow, "files", Degraded, float64(d.FreeFiles) < files, float64(d.FreeFiles) < enough*files,
			fmt.Sprintf("%d files can still be made on the disk of the state directory", d.FreeFiles))
	}
	if r := in.Memory; r != nil && r.Total > 0 {
		mark := memoryShare * float64(r.Total)
		l.between(MemoryLow, "", Degraded, float64(r.Available) < mark, float64(r.Available) < enough*mark,
			fmt.Sprintf("%d MB of memory are left", r.Available/1e6))
	}
	if in.Clock != nil && !in.Clock.Synchronised {
		l.add(ClockUnsynchronised, "", Degraded, "nothing keeps the clock right; a wrong clock makes certificates and signatures invalid: check the NTP service")
	}
	if len(in.Throttled) > 0 {
		l.add(Throttled, "", Degraded, "the machine is slower than it could be: "+strings.Join(in.Throttled, ", "))
	}
}

func (l *findings) cloud(in *Inputs, now time.Time) {
	if end := in.Certificate; !end.IsZero() {
		switch left := end.Sub(now); {
		case left <= 0:
			l.add(CertificateEnded, "", Failed, "the device's certificate has ended; order a new one").at = end
		case left <= certificateNotice:
			l.add(CertificateEnds, "", Degraded, fmt.Sprintf("the device's certificate ends in %d days; order a new one", int(left/(24*time.Hour)))).at = end
		}
	}
	p := in.Parameters
	if p == nil {
		return
	}
	begun := p.Fetched
	if begun.IsZero() {
		begun = p.Since
	}
	if begun.IsZero() {
		return
	}
	if age := now.Sub(begun); age > max(parameterRounds*p.Every, parameterLeast) {
		l.add(ParametersStale, "", Degraded, fmt.Sprintf("the settings of the fleet have not been read for %v", age.Round(time.Minute))+because(p.Error))
	}
}
