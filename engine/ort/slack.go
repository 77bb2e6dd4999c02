package ort

/*
#include <sys/prctl.h>

// TIMER_SLACK is by how many nanoseconds the kernel may be late in waking a thread that sleeps for a time: 1 ms, of which
// neither cameras nor networks notice anything. See slack.go.
enum { TIMER_SLACK = 1000000 };

// Threads inherit it from the one that makes them, so it has to be set before Go's runtime makes its own: that is before
// main and before any init.
__attribute__((constructor)) static void set_timer_slack(void) { prctl(PR_SET_TIMERSLACK, TIMER_SLACK, 0, 0, 0); }
*/
import "C"

import "time"

// timerSlack is how much later than asked for the threads of a process with this package may wake up.
//
// A run of a model is one call of C that takes milliseconds. While such calls come and go, Go's runtime looks after its
// threads every 20 µs, for a millisecond and more after each change. On a machine where every core runs a model, and
// waking a thread is dear, that took 6 % of all cores; when the kernel may be late, it is less than 1 %
// (docs/performance.md).
const timerSlack = time.Duration(C.TIMER_SLACK)
