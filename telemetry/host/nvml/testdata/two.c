// Stands in for NVIDIA's management library, for what gnomon calls: two GPUs, the second of which tells only its heat.
#include <string.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3 };
static long gpus[2];
static int started;

int nvmlInit_v2(void) { started++; return SUCCESS; }
int nvmlShutdown(void) { return --started == 0 ? SUCCESS : INVALID; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = &gpus[i]; return i < 2 ? SUCCESS : INVALID; }
static int first(void *d) { return d == &gpus[0]; }

int nvmlDeviceGetName(void *d, char *name, unsigned n) {
  if (n < 64) return INVALID;
  strcpy(name, "Stand-in 4000");
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *d, unsigned long long *m) {
  m[0] = 8ULL << 30, m[1] = 5ULL << 30, m[2] = 3ULL << 30;
  return first(d) ? SUCCESS : NOT_SUPPORTED;
}
int nvmlDeviceGetUtilizationRates(void *d, unsigned *u) { u[0] = 37, u[1] = 12; return first(d) ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetTemperature(void *d, unsigned sensor, unsigned *c) { *c = first(d) ? 61 : 40; return sensor == 0 ? SUCCESS : INVALID; }
int nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { *mw = 70500; return first(d) ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetClockInfo(void *d, unsigned kind, unsigned *mhz) { *mhz = 1500; return first(d) && kind == 0 ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetMaxClockInfo(void *d, unsigned kind, unsigned *mhz) { *mhz = 2000; return first(d) && kind == 0 ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *bits) {
  *bits = 0x01 | 0x04 | 0x08 | 0x40; // idle, power cap, hardware, of which thermal
  return first(d) ? SUCCESS : NOT_SUPPORTED;
}
