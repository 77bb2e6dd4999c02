// Architectures without vector code of their own.
#if !defined(__x86_64__) && !defined(__aarch64__)
#include "resize.h"

int gnomon_level(void) { return GNOMON_PLAIN; }

int gnomon_inverse(float sub, float div) {
  (void)sub, (void)div;
  return 0;
}

int gnomon_columns(const gnomon_plan *p, const uint8_t *row, int16_t *restrict out) {
  (void)p, (void)row, (void)out;
  return 0;
}

void gnomon_blend_f32(const int16_t *restrict a, const int16_t *restrict b, int16_t wa, int16_t wb, float sub, float div, float *restrict out, int n) {
  (void)a, (void)b, (void)wa, (void)wb, (void)sub, (void)div, (void)out, (void)n;
}
#endif
