package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

const (
	bufferSize = 128 << 10
	// checkEvery is how many bytes go to the disk between two looks at its free space: others write as well.
	checkEvery = 16 << 20
)

// mark says where to go on, and with what. The ETag is strong, or empty at the beginning.
type mark struct {
	Offset int64
	ETag   string
}

// answer is an object, from an offset on. Whoever got it closes the body.
type answer struct {
	body     io.ReadCloser
	offset   int64  // the one that was asked for, or 0 if the source would not go on there
	total    int64  // length of the whole object; -1: not known
	etag     string // strong; empty: going on later is not possible
	version  string // of S3
	encoding string // Content-Encoding, for the error of a wrong digest; bytes are taken as they come
}

// source is one object that can be read from an offset on.
type source interface {
	// open returns errChanged when the object with the ETag of m is no longer there. Other errors are *Error.
	open(ctx context.Context, m mark) (*answer, error)
}

// download brings one object with a known SHA-256 to a file. A partial file is never synced: what a power cut makes of
// it shows in the digest, which is computed again over what is on disk.
type download struct {
	f      *Fetcher
	root   *os.Root
	what   string // for errors
	src    source
	want   string // SHA-256, hexadecimal
	name   string // of the finished file, in root
	size   int64  // announced elsewhere; -1: not
	fixed  bool   // the source's name says what is in it, so no ETag is needed to go on
	report *progress

	journal  journal
	file     *os.File
	sum      hash.Hash // of the first have bytes
	have     int64
	furthest int64 // have at its highest
	resumed  bool  // the first bytes were there before this Fetch
	done     bool
	encoding string
}

func (f *Fetcher) newDownload(root *os.Root, what string, src source, want string, report *progress) *download {
	return &download{
		f: f, root: root, what: what, src: src, want: want, name: "blob-" + want, size: -1, report: report,
		journal: journal{Total: -1}, sum: sha256.New(),
	}
}

// run returns when the file is there under its name, with the wanted digest.
func (d *download) run(ctx context.Context) error {
	if found, err := d.begin(ctx); err != nil || found {
		return err
	}
	defer func() {
		if d.file != nil {
			d.file.Close() //nolint:errcheck // after an error; a success closes with a check
		}
	}()
	err := d.f.retry(ctx, d.what, d.attempt)
	if err != nil {
		return err
	}
	if d.digest() != d.want && d.resumed {
		// A power cut may have left anything in the partial file, so that is no proof against the object yet.
		d.furthest = 0
		if err := d.restart(); err != nil {
			return err
		}
		if err := d.f.retry(ctx, d.what, d.attempt); err != nil {
			return err
		}
	}
	return d.finish()
}

func (d *download) digest() string { return hex.EncodeToString(d.sum.Sum(nil)) }

// attempt fetches what is missing and reports whether there are more bytes than ever before.
func (d *download) attempt(ctx context.Context, w *watchdog) (bool, error) {
	if d.done {
		return true, nil
	}
	if d.journal.ETag == "" && !d.fixed && d.have > 0 {
		if err := d.restart(); err != nil {
			return false, err
		}
	}
	a, err := d.src.open(ctx, mark{d.have, d.journal.ETag})
	if errors.Is(err, errChanged) {
		return false, errors.Join(err, d.restart())
	}
	if err != nil {
		return false, err
	}
	defer a.body.Close()
	if err := d.accept(a); err != nil {
		return false, err
	}
	w.alive()
	err = d.copy(ctx, w, a.body)
	progress := d.have > d.furthest
	d.furthest = max(d.furthest, d.have)
	return progress, err
}

// accept checks what an answer announces and prepares the partial file for it.
func (d *download) accept(a *answer) error {
	if a.offset != d.have {
		if err := d.restart(); err != nil {
			return err
		}
	}
	total := a.total
	switch {
	case d.size >= 0 && total >= 0 && total != d.size:
		return d.wrong(CodeLengthMismatch, "has %d bytes at the server and %d in the manifest; push it again", total, d.size)
	case d.size >= 0:
		total = d.size
	case a.offset > 0 && total < 0:
		total = d.journal.Total
	case a.offset > 0 && d.journal.Total >= 0 && total != d.journal.Total:
		return errors.Join(errChanged, d.restart())
	}
	if total > d.f.opts.Limits.MaxBytes {
		return d.wrong(CodeTooLarge, "has %d bytes, and this device takes %d; raise the limit or make it smaller",
			total, d.f.opts.Limits.MaxBytes)
	}
	if err := space(d.root, max(total-d.have, 0), d.f.opts.Limits.KeepFree); err != nil {
		return err
	}
	d.encoding = a.encoding
	d.report.total(total)
	return d.note(journal{Format: journalFormat, ETag: a.etag, Version: a.version, Total: total})
}

// copy appends the body to the partial file and to the digest.
func (d *download) copy(ctx context.Context, w *watchdog, body io.Reader) error {
	limit := d.f.opts.Limits.MaxBytes
	if d.journal.Total >= 0 {
		limit = d.journal.Total
	}
	buffer := make([]byte, bufferSize)
	if l := d.f.limiter; l != nil {
		buffer = buffer[:l.Burst()]
	}
	unchecked := 0
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			w.idle() // neither the disk nor the rate limit is the server's fault
			if d.have+int64(n) > limit {
				return d.tooLong(limit)
			}
			if unchecked += n; unchecked >= checkEvery {
				unchecked = 0
				if err := space(d.root, 0, d.f.opts.Limits.KeepFree); err != nil {
					return err
				}
			}
			if err := d.write(ctx, buffer[:n]); err != nil {
				return err
			}
			w.alive()
		}
		switch {
		case errors.Is(err, io.EOF) && d.journal.Total > d.have:
			return fail(CodeNetwork, "fetch %s: the connection ended after %d of %d bytes", d.what, d.have, d.journal.Total)
		case errors.Is(err, io.EOF):
			d.done = true
			return nil
		case err != nil:
			return d.readError(err)
		}
	}
}

func (d *download) readError(err error) error {
	var path *os.PathError
	if errors.As(err, &path) { // of a file source
		return wrap(CodeDiskError, "read "+d.what, err)
	}
	return netError(d.what, err)
}

func (d *download) write(ctx context.Context, data []byte) error {
	if l := d.f.limiter; l != nil {
		if err := l.WaitN(ctx, len(data)); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return wrap(CodeTimeout, "the download would take too long at the rate that this device allows", err)
		}
	}
	if _, err := d.file.WriteAt(data, d.have); err != nil {
		return diskError("write "+d.name, err)
	}
	d.sum.Write(data)
	d.have += int64(len(data))
	d.report.add(int64(len(data)))
	return nil
}

func (d *download) tooLong(limit int64) error {
	if d.journal.Total >= 0 {
		return d.wrong(CodeLengthMismatch, "is longer than the %d bytes that were announced; announce it again", limit)
	}
	return d.wrong(CodeTooLarge, "is larger than the %d bytes that this device takes; raise the limit or make it smaller", limit)
}

// wrong discards the partial file: nothing can come of it.
func (d *download) wrong(code Code, format string, args ...any) error {
	err := fail(code, d.what+" "+format, args...)
	if discard := d.discard(); discard != nil {
		return &Error{Code: code, Err: fmt.Errorf("%w; and %w", err, discard)}
	}
	return err
}

// finish gives a whole file its name.
func (d *download) finish() error {
	if got := d.digest(); got != d.want {
		hint := "announce the digest of what was uploaded"
		if d.encoding != "" {
			hint = "the server sent it with Content-Encoding " + withoutQueries(d.encoding) + ", and bytes are taken as they come: " + hint
		}
		return d.wrong(CodeDigestMismatch, "has the SHA-256 %s instead of %s; %s", got, d.want, hint)
	}
	err := d.file.Close()
	d.file = nil
	if err == nil {
		err = d.root.Rename(d.partial(), d.name)
	}
	if err != nil {
		return diskError("finish "+d.name, err)
	}
	return nil
}
