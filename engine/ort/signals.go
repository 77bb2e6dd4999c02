package ort

/*
#include <signal.h>
#include <stdlib.h>
#include <string.h>

// NSIG is what the C library calls one more than the highest signal.
typedef struct { struct sigaction action[NSIG]; char known[NSIG]; } signals;

static signals *signals_save(void) {
	signals *s = calloc(1, sizeof(signals));
	for (int i = 1; s && i < NSIG; i++) s->known[i] = sigaction(i, NULL, &s->action[i]) == 0;
	return s;
}

// signals_restore puts back the handlers that ran on a stack of their own and whose successors do not. It returns how
// many those are.
static int signals_restore(signals *s) {
	int n = 0;
	for (int i = 1; s && i < NSIG; i++) {
		struct sigaction now;
		if (!s->known[i] || !(s->action[i].sa_flags & SA_ONSTACK) || sigaction(i, NULL, &now) != 0 || now.sa_flags & SA_ONSTACK) continue;
		if (sigaction(i, &s->action[i], NULL) == 0) n++;
	}
	free(s);
	return n;
}
*/
import "C"

// guardSignals notes how signals are handled; the function it returns puts back what has been replaced meanwhile by
// handlers without SA_ONSTACK, and says how many those were. Providers for GPUs bring such handlers, and Go, whose stacks
// are too small for them, ends the process when one is called ("non-Go code set up signal handler without SA_ONSTACK
// flag"). Call it around everything that may load or start a provider. Several may overlap.
func guardSignals() (restore func() int) {
	saved := C.signals_save()
	return func() int {
		n := int(C.signals_restore(saved))
		saved = nil
		return n
	}
}
