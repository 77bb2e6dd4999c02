package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
)

const (
	journalFormat = 1
	maxETag       = 1024             // bytes; also of a version id of S3, where it is the limit
	maxJournal    = 12*maxETag + 256 // both, with every byte escaped
)

// journal is what has to be known about a partial file to go on with it. It has nothing secret in it.
type journal struct {
	Format  int    `json:"format"`
	ETag    string `json:"etag,omitempty"`
	Version string `json:"version,omitempty"`
	Total   int64  `json:"total"` // -1: unknown
}

func (d *download) partial() string     { return d.name + ".part" }
func (d *download) journalName() string { return d.name + ".json" }

// begin looks at what an earlier Fetch left. True: all of it.
func (d *download) begin(ctx context.Context) (bool, error) {
	d.readJournal()
	if err := d.reopen(d.name, os.O_RDONLY); err == nil {
		err := d.rehash(ctx)
		d.file.Close() //nolint:errcheck // it was only read
		d.file = nil
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err == nil && d.digest() == d.want:
			d.report.total(d.have)
			d.report.add(d.have)
			return true, nil
		}
	}
	if err := d.root.RemoveAll(d.name); err != nil {
		return false, diskError("remove the damaged "+d.name, err)
	}
	if err := d.reopen(d.partial(), os.O_RDWR); err != nil {
		d.have, d.journal = 0, journal{Total: -1}
		d.sum.Reset()
		return false, d.create()
	}
	err := d.rehash(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	known := d.journal.Format == journalFormat && (d.journal.ETag != "" || d.fixed)
	if err != nil || !known || (d.journal.Total >= 0 && d.have > d.journal.Total) || (d.size >= 0 && d.have > d.size) {
		d.have = 0 // nobody was told of it
		return false, d.restart()
	}
	d.resumed, d.furthest = d.have > 0, d.have
	if d.done = d.have > 0 && (d.have == d.size || d.have == d.journal.Total); d.done {
		d.report.total(d.have)
	}
	d.report.add(d.have)
	return false, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// reopen opens a file of an earlier Fetch.
func (d *download) reopen(name string, flags int) (err error) {
	d.file, err = openRegular(d.root, name, flags)
	return err
}

// create makes an empty partial file in the place of whatever is there.
func (d *download) create() error {
	file, err := createRegular(d.root, d.partial())
	if err != nil {
		return diskError("make "+d.partial(), err)
	}
	d.file = file
	return nil
}

// rehash reads the open file, at most as much as may be right. On a slow board a large one takes longer than a process
// has for its end.
func (d *download) rehash(ctx context.Context) error {
	d.sum.Reset()
	file := readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return d.file.Read(p)
	})
	n, err := io.Copy(d.sum, io.LimitReader(file, d.f.opts.Limits.MaxBytes+1))
	d.have = n
	if n > d.f.opts.Limits.MaxBytes {
		return errors.New("the file is larger than this device takes")
	}
	return err
}

// restart empties the partial file.
func (d *download) restart() error {
	d.report.add(-d.have)
	d.sum.Reset()
	d.have, d.resumed, d.done = 0, false, false
	d.journal = journal{Total: -1}
	if err := d.file.Truncate(0); err != nil {
		return diskError("empty "+d.partial(), err)
	}
	return nil
}

// discard deletes what the download has on disk.
func (d *download) discard() error {
	d.report.add(-d.have)
	d.have = 0
	for _, name := range []string{d.partial(), d.journalName()} {
		if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError("remove "+name, err)
		}
	}
	return nil
}

func (d *download) readJournal() {
	file, err := openRegular(d.root, d.journalName(), os.O_RDONLY)
	if err != nil {
		return // none; then the partial file is not used either
	}
	defer file.Close()
	var j journal
	if err := json.NewDecoder(io.LimitReader(file, maxJournal)).Decode(&j); err == nil && j.Format == journalFormat {
		d.journal = j
	}
}

// note replaces the journal if it changed. Its file is replaced as a whole, before the bytes it speaks of.
func (d *download) note(j journal) error {
	if len(j.Version) > maxETag {
		j.Version = ""
	}
	if j == d.journal {
		return nil
	}
	d.journal = j
	data, err := json.Marshal(j)
	if err == nil {
		err = writeFile(d.root, d.journalName(), data)
	}
	if err != nil {
		return diskError("write the journal of the download", err)
	}
	return nil
}
