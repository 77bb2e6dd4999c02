// 64-bit ARM: NEON, which all of them have.
#include "resize.h"

#include <arm_neon.h>
#include <string.h>

int gnomon_level(void) { return GNOMON_WIDE; }

// Four columns at a time: both pixels of a column come with one load and are widened, and two multiplies with the column's
// weights make blue, green and red of it; a transposition makes planes.
int gnomon_columns(const gnomon_plan *p, const uint8_t *row, int16_t *restrict out) {
  if (p->level < GNOMON_VECTOR) return 0;
  const int n = p->new_w;
  int x = 0;
  for (; x + 4 <= p->near_w; x += 4) {
    int16x4_t v[4];
    for (int k = 0; k < 4; k++) {
      const int16x8_t px = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(row + p->x0[x + k])));  // b0 g0 r0 b1 g1 r1
      const int16x4_t left = vget_low_s16(px), right = vget_low_s16(vextq_s16(px, px, 3));
      const int16_t *w = p->wx + 2 * (x + k);
      v[k] = vshrn_n_s32(vmlal_n_s16(vmull_n_s16(left, w[0]), right, w[1]), 4);
    }
    const int16x4x2_t t0 = vtrn_s16(v[0], v[1]), t1 = vtrn_s16(v[2], v[3]);  // b0 b1 r0 r1, g0 g1 ..
    const int32x2_t b0 = vreinterpret_s32_s16(t0.val[0]), b1 = vreinterpret_s32_s16(t1.val[0]);
    const int32x2_t g0 = vreinterpret_s32_s16(t0.val[1]), g1 = vreinterpret_s32_s16(t1.val[1]);
    const int32x2x2_t br = vtrn_s32(b0, b1), gx = vtrn_s32(g0, g1);
    vst1_s16(out + x, vreinterpret_s16_s32(br.val[0]));
    vst1_s16(out + n + x, vreinterpret_s16_s32(gx.val[0]));
    vst1_s16(out + 2 * n + x, vreinterpret_s16_s32(br.val[1]));
  }
  return x;
}

// (v - sub) / div without a division: the rounded product is off by a bit at most, and what it leaves over says which.
static inline float32x4_t divided(float32x4_t v, float32x4_t sub, float32x4_t div, float32x4_t inv) {
  v = vsubq_f32(v, sub);
  const float32x4_t q = vmulq_f32(v, inv);
  return vfmaq_f32(q, vfmsq_f32(v, q, div), inv);
}

int gnomon_inverse(float sub, float div) {
  for (int v = 0; v < 256; v++) {
    const volatile float want = ((float)v - sub) / div;
    const float got = vgetq_lane_f32(divided(vdupq_n_f32((float)v), vdupq_n_f32(sub), vdupq_n_f32(div), vdupq_n_f32(1 / div)), 0);
    if (memcmp((const void *)&want, &got, sizeof got)) return 0;
  }
  return 1;
}

void gnomon_blend_f32(const int16_t *restrict a, const int16_t *restrict b, int16_t wa, int16_t wb, float sub, float div, float *restrict out, int n) {
  const float32x4_t vsub = vdupq_n_f32(sub), vdiv = vdupq_n_f32(div), inv = vdupq_n_f32(1 / div);
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    // The doubling multiply keeps the upper half of twice the product: half of it is the product >> 16.
    const int16x8_t u = vshrq_n_s16(vqdmulhq_n_s16(vld1q_s16(a + i), wa), 1), v = vshrq_n_s16(vqdmulhq_n_s16(vld1q_s16(b + i), wb), 1);
    const int16x8_t s = vminq_s16(vshrq_n_s16(vaddq_s16(vaddq_s16(u, v), vdupq_n_s16(2)), 2), vdupq_n_s16(255));
    vst1q_f32(out + i, divided(vcvtq_f32_s32(vmovl_s16(vget_low_s16(s))), vsub, vdiv, inv));
    vst1q_f32(out + i + 4, divided(vcvtq_f32_s32(vmovl_s16(vget_high_s16(s))), vsub, vdiv, inv));
  }
  for (; i < n; i++) {
    const int u = (a[i] * wa) >> 16, v = (b[i] * wb) >> 16, s = (u + v + 2) >> 2;
    out[i] = ((float)(s > 255 ? 255 : s) - sub) / div;
  }
}
