// OpenCV's VideoCapture for live sources. gocv's Grab does not tell whether it worked, which is all that counts here.
#ifndef GNOMON_LIVE_CAPTURE_H
#define GNOMON_LIVE_CAPTURE_H

#include "decoderlog.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gnomon_capture gnomon_capture;

// One thread at a time, but for gnomon_capture_stop. No call throws; 1 is success.
gnomon_capture *gnomon_capture_new(void);
int gnomon_capture_stream(gnomon_capture *c, const char *uri, const char *transport, int open_ms, int read_ms, gnomon_told *told);
int gnomon_capture_device(gnomon_capture *c, const char *path, gnomon_told *told);
int gnomon_capture_grab(gnomon_capture *c, gnomon_told *told, double *position_ms);
int gnomon_capture_retrieve(gnomon_capture *c, void *mat);
double gnomon_capture_get(gnomon_capture *c, int property);
int gnomon_capture_set(gnomon_capture *c, int property, double value);
void gnomon_capture_free(gnomon_capture *c);

// gnomon_capture_stop makes FFmpeg give up waiting, within a tenth of a second, in this call and all later ones. Any thread.
void gnomon_capture_stop(gnomon_capture *c);

// gnomon_place copies a BGR picture into *mat: turned clockwise by quarter turns, then mirrored (bit 0: left and right, bit 1: top and
// bottom).
int gnomon_place(const uint8_t *pix, int width, int height, int64_t stride, int quarters, int mirror, void *mat);

#ifdef __cplusplus
}
#endif
#endif
