// One fused pass from a BGR picture to a model's input tensor. See resize.c.
#ifndef GNOMON_RESIZE_H
#define GNOMON_RESIZE_H

#include <stdint.h>

enum { GNOMON_F32 = 0, GNOMON_F16 = 1, GNOMON_U8 = 2 };

// What the processor can do, best last: each level computes the same bytes.
enum { GNOMON_PLAIN = 0, GNOMON_VECTOR = 1, GNOMON_WIDE = 2 };

// Columns that the wide code makes at once, and the source bytes that they may lie apart.
enum { GNOMON_BLOCK = 16, GNOMON_REACH = 256 };

// A plan for one size of source picture: which two source columns and rows make each resized one, and how much of
// each. Weights have 11 bits and add up to 2048.
typedef struct {
  int32_t level;                  // GNOMON_PLAIN, ...
  int32_t src_bytes;              // of a source row
  int32_t new_w, new_h;           // resized picture, pixels
  int32_t pad_x, pad_y;           // its place in the tensor, pixels
  int32_t dst_w, dst_h;           // tensor, pixels
  int32_t *x0, *x1;               // [new_w] byte offsets of the two source pixels in a row
  int16_t *wx;                    // [new_w][2] their weights
  int32_t near_w;                 // columns below it may read 8 bytes at x0: both pixels, and still inside the row
  int32_t blocks;                 // blocks of GNOMON_BLOCK columns that the wide code does, from the left
  uint8_t *pick;                  // [blocks][4 * GNOMON_BLOCK] for each column: where its two blue bytes lie behind the
                                  // block's first pixel, at places 0 and 2 of four; the others are 0
  int32_t *y0, *y1;               // [new_h] source rows
  int16_t *wy0, *wy1;             // [new_h] their weights
  int16_t *rows;                  // [2][3][new_w] two horizontally resized rows, planar, 7 fractional bits
  uint8_t *line;                  // [3][new_w] one finished row, planar, blue first
} gnomon_plan;

// How a byte of channel c (0 blue, 1 green, 2 red) becomes an element, and where that channel lies.
typedef struct {
  int32_t type;                   // GNOMON_F32, GNOMON_F16, GNOMON_U8
  int32_t nhwc;                   // 1: channels next to each other, 0: planes
  int32_t place[3];               // index of channel c in the tensor
  float sub[3], div[3];           // f32: value = (byte - sub) / div
  int32_t inverse[3];             // gnomon_inverse of the two
  const uint16_t *table[3];       // f16, u8: value by byte, [256]
} gnomon_store;

void gnomon_fill(const gnomon_plan *p, const gnomon_store *s, const uint8_t *src, int64_t stride, void *dst);

// The best level of this processor.
int gnomon_level(void);

// Whether the wide code, which multiplies by 1/div and mends the last bit, gives what dividing gives, for every byte.
int gnomon_inverse(float sub, float div);

// The vector code for one architecture: resize_amd64.c, resize_arm64.c. Both resize the columns of a row from x on and
// return the first column that they have not done.
int gnomon_columns(const gnomon_plan *p, const uint8_t *row, int16_t *restrict out);

// Two resized rows of one channel, blended and stored as float32; only at level GNOMON_WIDE, and where inverse is set.
void gnomon_blend_f32(const int16_t *restrict a, const int16_t *restrict b, int16_t wa, int16_t wb, float sub, float div, float *restrict out, int n);

#endif
