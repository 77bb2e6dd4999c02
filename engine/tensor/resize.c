// Bilinear resize with half-pixel centres and 11-bit weights, so that every byte equals that of OpenCV's
// INTER_LINEAR on 8-bit pictures (see the test), fused with colour order, normalisation, type and layout: the
// source is read once, the tensor written once, and only two rows live in between.
#include "resize.h"

#include <stddef.h>

// The same C, compiled for two levels of x86 and chosen at load time; neither has fused multiply-add, so both compute
// the same bits. Other architectures have one level.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LEVELS __attribute__((target_clones("default", "avx2")))
#else
#define LEVELS
#endif

// One source row, resized horizontally: three planes of values with 7 fractional bits (0..255 << 7 fits int16).
static void horizontal(const gnomon_plan *p, const uint8_t *row, int16_t *restrict out) {
  const int n = p->new_w;
  int16_t *restrict b = out, *restrict g = out + n, *restrict r = out + 2 * n;
  for (int x = gnomon_columns(p, row, out); x < n; x++) {
    const uint8_t *s = row + p->x0[x], *t = row + p->x1[x];
    const int w0 = p->wx[2 * x], w1 = p->wx[2 * x + 1];
    b[x] = (int16_t)((s[0] * w0 + t[0] * w1) >> 4);
    g[x] = (int16_t)((s[1] * w0 + t[1] * w1) >> 4);
    r[x] = (int16_t)((s[2] * w0 + t[2] * w1) >> 4);
  }
}

// Two resized rows, blended vertically into bytes. The two-step shift is the rounding that OpenCV's vector code uses.
LEVELS
static void vertical(const int16_t *restrict a, const int16_t *restrict b, int16_t wa, int16_t wb, uint8_t *restrict out, int n) {
  for (int i = 0; i < n; i++) {
    const int16_t u = (int16_t)((a[i] * wa) >> 16), v = (int16_t)((b[i] * wb) >> 16);
    const int16_t s = (int16_t)((u + v + 2) >> 2);
    out[i] = (uint8_t)(s > 255 ? 255 : s);
  }
}

// Divided, not multiplied by the inverse: the families' own pipelines divide, and quantised models notice the last bit.
LEVELS
static void store_plane_f32(const uint8_t *restrict in, float *restrict out, float sub, float div, int n) {
  for (int i = 0; i < n; i++) out[i] = ((float)in[i] - sub) / div;
}

LEVELS
static void store_interleaved_f32(const uint8_t *restrict in, float *restrict out, float sub, float div, int n) {
  for (int i = 0; i < n; i++) out[3 * i] = ((float)in[i] - sub) / div;
}

static void store(const gnomon_plan *p, const gnomon_store *s, int y, void *dst) {
  const int n = p->new_w;
  const ptrdiff_t plane = (ptrdiff_t)p->dst_w * p->dst_h;
  const ptrdiff_t first = (ptrdiff_t)(p->pad_y + y) * p->dst_w + p->pad_x;
  for (int c = 0; c < 3; c++) {
    const uint8_t *line = p->line + (ptrdiff_t)c * n;
    const ptrdiff_t at = s->nhwc ? 3 * first + s->place[c] : s->place[c] * plane + first;
    const ptrdiff_t step = s->nhwc ? 3 : 1;
    if (s->type == GNOMON_F32) {
      float *out = (float *)dst + at;
      if (s->nhwc) store_interleaved_f32(line, out, s->sub[c], s->div[c], n);
      else store_plane_f32(line, out, s->sub[c], s->div[c], n);
    } else if (s->type == GNOMON_F16) {
      uint16_t *out = (uint16_t *)dst + at;
      for (int i = 0; i < n; i++) out[i * step] = s->table[c][line[i]];
    } else {
      uint8_t *out = (uint8_t *)dst + at;
      for (int i = 0; i < n; i++) out[i * step] = (uint8_t)s->table[c][line[i]];
    }
  }
}

// The same for two resized rows that need not become bytes in between.
static void blend_store(const gnomon_plan *p, const gnomon_store *s, int y, const int16_t *a, const int16_t *b, void *dst) {
  const int n = p->new_w;
  const ptrdiff_t first = (ptrdiff_t)(p->pad_y + y) * p->dst_w + p->pad_x;
  for (int c = 0; c < 3; c++) {
    float *out = (float *)dst + s->place[c] * (ptrdiff_t)p->dst_w * p->dst_h + first;
    gnomon_blend_f32(a + (ptrdiff_t)c * n, b + (ptrdiff_t)c * n, p->wy0[y], p->wy1[y], s->sub[c], s->div[c], out, n);
  }
}

void gnomon_fill(const gnomon_plan *p, const gnomon_store *s, const uint8_t *src, int64_t stride, void *dst) {
  const int n = 3 * p->new_w;
  const int whole = p->level >= GNOMON_WIDE && s->type == GNOMON_F32 && !s->nhwc && s->inverse[0] && s->inverse[1] && s->inverse[2];
  int16_t *held[2] = {p->rows, p->rows + n};
  int have[2] = {-1, -1};  // the source row that each holds
  for (int y = 0; y < p->new_h; y++) {
    const int want[2] = {p->y0[y], p->y1[y]};
    if (have[0] != want[0] && have[1] == want[0]) {  // going down, the lower row becomes the upper one
      int16_t *t = held[0];
      held[0] = held[1], held[1] = t;
      have[1] = have[0], have[0] = want[0];
    }
    const int alone = want[1] == want[0];  // the last row of the picture is its own neighbour
    for (int k = 0; k < 2 - alone; k++) {
      if (have[k] == want[k]) continue;
      horizontal(p, src + (int64_t)want[k] * stride, held[k]);
      have[k] = want[k];
    }
    const int16_t *below = held[!alone];
    if (whole) {
      blend_store(p, s, y, held[0], below, dst);
    } else {
      vertical(held[0], below, p->wy0[y], p->wy1[y], p->line, n);
      store(p, s, y, dst);
    }
  }
}
