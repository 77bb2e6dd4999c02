// One fused pass from a BGR picture to a model's input tensor. See resize.c.
#ifndef GNOMON_RESIZE_H
#define GNOMON_RESIZE_H

#include <stdint.h>

enum { GNOMON_F32 = 0, GNOMON_F16 = 1, GNOMON_U8 = 2 };

// A plan for one size of source picture: which two source columns and rows make each resized one, and how much of
// each. Weights have 11 bits and add up to 2048.
typedef struct {
  int32_t new_w, new_h;           // resized picture, pixels
  int32_t pad_x, pad_y;           // its place in the tensor, pixels
  int32_t dst_w, dst_h;           // tensor, pixels
  int32_t *x0, *x1;               // [new_w] byte offsets of the two source pixels in a row
  int16_t *wx;                    // [new_w][2] their weights
  int32_t near_w;                 // columns below it may read 8 bytes at x0: both pixels, and still inside the row
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
  const uint16_t *table[3];       // f16, u8: value by byte, [256]
} gnomon_store;

void gnomon_fill(const gnomon_plan *p, const gnomon_store *s, const uint8_t *src, int64_t stride, void *dst);

#endif
