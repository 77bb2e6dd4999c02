package camera

import "sync/atomic"

// maxAbandoned bounds the readers of this process that hang in native code: each keeps a thread, a connection and the pictures
// in its decoder, some 30 MB.
const maxAbandoned = 8

// abandoned counts them. Native calls are the process's, so this is too.
var abandoned atomic.Int64

// Abandoned is the number of live sources that were closed and whose native call has not come back. At a small number opening
// fails with ErrTooManyAbandoned.
func Abandoned() int { return int(abandoned.Load()) }
