// x86: SSSE3, which every 64-bit processor since 2006 has, and AVX-512 with VBMI, where one instruction picks any 64 of
// 128 bytes. Chosen when the program runs.
#include "resize.h"

#include <immintrin.h>
#include <string.h>

int gnomon_level(void) {
  if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) return GNOMON_WIDE;
  return __builtin_cpu_supports("ssse3") ? GNOMON_VECTOR : GNOMON_PLAIN;
}

// Four columns at a time, from x on: both pixels of a column come with one load, are spread to 16 bits beside each other,
// and one multiply-add makes blue, green and red of it.
__attribute__((target("ssse3"))) static int four_columns(const gnomon_plan *p, const uint8_t *row, int16_t *restrict out, int x) {
  const int n = p->new_w;
  const __m128i spread = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  const __m128i pair = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, -1, -1, -1, -1);
  for (; x + 4 <= p->near_w; x += 4) {
    __m128i v[4];
    for (int k = 0; k < 4; k++) {
      int32_t w;
      memcpy(&w, p->wx + 2 * (x + k), sizeof w);
      const __m128i px = _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i *)(row + p->x0[x + k])), spread);
      v[k] = _mm_srai_epi32(_mm_madd_epi16(px, _mm_set1_epi32(w)), 4);
    }
    const __m128i lo = _mm_shuffle_epi8(_mm_packs_epi32(v[0], v[1]), pair);  // b0 b1 g0 g1 r0 r1
    const __m128i hi = _mm_shuffle_epi8(_mm_packs_epi32(v[2], v[3]), pair);
    const __m128i bg = _mm_unpacklo_epi32(lo, hi);
    _mm_storel_epi64((__m128i *)(out + x), bg);
    _mm_storel_epi64((__m128i *)(out + n + x), _mm_unpackhi_epi64(bg, bg));
    _mm_storel_epi64((__m128i *)(out + 2 * n + x), _mm_unpackhi_epi32(lo, hi));
  }
  return x;
}

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

// Bytes 0..n of what is left of a row, the rest 0: nothing behind the row is touched.
WIDE static inline __m512i load_part(const uint8_t *at, int n) {
  const __mmask64 m = n >= 64 ? ~0ull : n <= 0 ? 0 : (1ull << n) - 1;
  return _mm512_maskz_loadu_epi8(m, at);
}

// A block of columns at a time: their source bytes are loaded as they lie, up to GNOMON_REACH of them, and three picks
// bring the two blue, green and red bytes of each column beside each other.
WIDE static int blocks(const gnomon_plan *p, const uint8_t *row, int16_t *restrict out) {
  const int n = p->new_w;
  const __mmask64 lower = 0x5555555555555555ull;  // bytes become 16 bits: the upper half is 0
  const __m512i one = _mm512_set1_epi8(1);
  for (int i = 0; i < p->blocks; i++) {
    const int x = i * GNOMON_BLOCK;
    const uint8_t *src = row + p->x0[x];
    const int left = p->src_bytes - p->x0[x];
    const int far = p->x0[x + GNOMON_BLOCK - 1] - p->x0[x] + 6 > 128;
    const __m512i s0 = load_part(src, left), s1 = load_part(src + 64, left - 64);
    __m512i pick = _mm512_loadu_si512(p->pick + 4 * x);
    const __m512i w = _mm512_loadu_si512(p->wx + 2 * x);
    __m512i s2 = s0, s3 = s1;
    if (far) s2 = load_part(src + 128, left - 128), s3 = load_part(src + 192, left - 192);
    for (int c = 0; c < 3; c++) {
      __m512i px = _mm512_maskz_permutex2var_epi8(lower, s0, pick, s1);  // looks at the lower 7 bits of each place
      if (far) px = _mm512_mask_blend_epi8(lower & _mm512_movepi8_mask(pick), px, _mm512_permutex2var_epi8(s2, pick, s3));
      const __m512i v = _mm512_srai_epi32(_mm512_madd_epi16(px, w), 4);
      _mm256_storeu_si256((__m256i *)(out + c * n + x), _mm512_cvtepi32_epi16(v));
      pick = _mm512_add_epi8(pick, one);
    }
  }
  return p->blocks * GNOMON_BLOCK;
}

int gnomon_columns(const gnomon_plan *p, const uint8_t *row, int16_t *restrict out) {
  int x = 0;
  if (p->level >= GNOMON_WIDE) x = blocks(p, row, out);
  if (p->level >= GNOMON_VECTOR) x = four_columns(p, row, out, x);
  return x;
}

// (v - sub) / div without a division: the rounded product is off by a bit at most, and what it leaves over says which.
WIDE static inline __m512 divided(__m512 v, __m512 sub, __m512 div, __m512 inv) {
  v = _mm512_sub_ps(v, sub);
  const __m512 q = _mm512_mul_ps(v, inv);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, div, v), inv, q);
}

WIDE static int inverse_wide(float sub, float div) {
  for (int v = 0; v < 256; v++) {
    const volatile float want = ((float)v - sub) / div;
    const float got = _mm512_cvtss_f32(divided(_mm512_set1_ps((float)v), _mm512_set1_ps(sub), _mm512_set1_ps(div), _mm512_set1_ps(1 / div)));
    if (memcmp((const void *)&want, &got, sizeof got)) return 0;
  }
  return 1;
}

int gnomon_inverse(float sub, float div) { return gnomon_level() >= GNOMON_WIDE && inverse_wide(sub, div); }

WIDE void gnomon_blend_f32(const int16_t *restrict a, const int16_t *restrict b, int16_t wa, int16_t wb, float sub, float div, float *restrict out, int n) {
  const __m512i va = _mm512_set1_epi16(wa), vb = _mm512_set1_epi16(wb), two = _mm512_set1_epi16(2), most = _mm512_set1_epi16(255);
  const __m512 vsub = _mm512_set1_ps(sub), vdiv = _mm512_set1_ps(div), inv = _mm512_set1_ps(1 / div);
  for (int i = 0; i < n; i += 32) {
    const int left = n - i;
    const __mmask32 m = left >= 32 ? 0xffffffffu : (1u << left) - 1;
    const __m512i u = _mm512_mulhi_epi16(_mm512_maskz_loadu_epi16(m, a + i), va), v = _mm512_mulhi_epi16(_mm512_maskz_loadu_epi16(m, b + i), vb);
    const __m512i s = _mm512_min_epi16(_mm512_srai_epi16(_mm512_add_epi16(_mm512_add_epi16(u, v), two), 2), most);
    const __m512 lo = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(s)));
    const __m512 hi = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(s, 1)));
    _mm512_mask_storeu_ps(out + i, (__mmask16)m, divided(lo, vsub, vdiv, inv));
    _mm512_mask_storeu_ps(out + i + 16, (__mmask16)(m >> 16), divided(hi, vsub, vdiv, inv));
  }
}
