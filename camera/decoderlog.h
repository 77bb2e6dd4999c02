// What happens inside FFmpeg during one call of OpenCV: see decoderlog.c.
#ifndef GNOMON_DECODERLOG_H
#define GNOMON_DECODERLOG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The last lines of a call that failed are enough to say why; the first of them are usually of the layer that noticed.
#define GNOMON_LINES 4
#define GNOMON_LINE 240

// The read code of a call that read no packet.
#define GNOMON_NOTHING_READ 1

// gnomon_told is what one call learned. Codes are FFmpeg's: 0 or more is success, a negated errno, or a tag.
typedef struct {
  int32_t open_code;             // of opening and probing
  int32_t read_code;             // of the last packet read
  int32_t width, height, format; // of the last picture decoded; 0, 0, -1: none was
  int32_t lines;
  char line[GNOMON_LINES][GNOMON_LINE]; // the last errors, the oldest first, each ends with 0
} gnomon_told;

// gnomon_decoder_install makes FFmpeg's log go to the call that it belongs to, or nowhere.
void gnomon_decoder_install(void);

// gnomon_decoder_begin starts to take note on this thread. FFmpeg gives up waiting when *stop is not 0. transport is for
// RTSP: tcp, udp, or empty for the first that works. live: what is opened is a stream, not a file. The pointers must live until
// gnomon_decoder_end.
void gnomon_decoder_begin(const int32_t *stop, const char *transport, int live);

// gnomon_decoder_end ends that. The codes and the picture are always set, the lines if wanted.
void gnomon_decoder_end(gnomon_told *told, int lines);

#ifdef __cplusplus
}
#endif
#endif
