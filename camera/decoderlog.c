//go:build opencv

// OpenCV tells only that opening or grabbing failed, never why, offers no options for one capture, no way to end a call early,
// and does not notice that a stream changes its size: it then reads beyond the smaller picture. All of that passes between
// OpenCV and FFmpeg, so this file stands there: the linker (--wrap, in live_native.go) leads five of FFmpeg's functions
// through it. Everything is kept for each thread, so calls do not disturb each other, and other users of FFmpeg, which
// never call gnomon_decoder_begin, notice nothing.
//
// Declared here instead of included, because only FFmpeg's libraries are handed to this build: opaque types, and of AVFrame
// the head that its public header (libavutil/frame.h, version 59) fixes. A function that is gone fails to link; TestDecoderSeam
// notices when a field has moved.
#include "decoderlog.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct AVFormatContext AVFormatContext;
typedef struct AVCodecContext AVCodecContext;
typedef struct AVDictionary AVDictionary;
typedef struct AVInputFormat AVInputFormat;
typedef struct AVPacket AVPacket;
typedef struct AVIOInterruptCB AVIOInterruptCB;
typedef struct {
  uint8_t *data[8];
  int linesize[8];
  uint8_t **extended_data;
  int width, height;
  int samples;
  int format;
} frame_head;

void av_log_set_callback(void (*callback)(void *, int, const char *, va_list));
int av_log_format_line2(void *ptr, int level, const char *fmt, va_list vl, char *line, int line_size, int *print_prefix);
int av_dict_set(AVDictionary **pm, const char *key, const char *value, int flags);

int __real_avformat_open_input(AVFormatContext **ps, const char *url, const AVInputFormat *fmt, AVDictionary **options);
int __real_avformat_find_stream_info(AVFormatContext *ic, AVDictionary **options);
int __real_av_read_frame(AVFormatContext *s, AVPacket *pkt);
int __real_avcodec_receive_frame(AVCodecContext *avctx, frame_head *frame);
int __real_ff_check_interrupt(AVIOInterruptCB *cb);

enum { LOG_ERROR = 16 }; // libavutil/log.h: what cannot be recovered from, and worse below it

static _Thread_local struct {
  int active;
  const int32_t *stop;
  const char *transport;
  int live;
  int next;         // where the next line goes
  int continuing;   // the last message had no end of line yet
  int print_prefix; // av_log_format_line2's memory
  gnomon_told told;
} call;

static void take_line(void *ptr, int level, const char *fmt, va_list vl) {
  if (!call.active || level > LOG_ERROR) {
    return;
  }
  char text[GNOMON_LINE];
  av_log_format_line2(ptr, level, fmt, vl, text, sizeof text, &call.print_prefix);
  size_t n = strlen(text);
  int ends = n > 0 && text[n - 1] == '\n';
  text[n - (size_t)ends] = 0;
  if (call.continuing) {
    char *last = call.told.line[(call.next + GNOMON_LINES - 1) % GNOMON_LINES];
    size_t have = strlen(last);
    snprintf(last + have, GNOMON_LINE - have, "%s", text);
  } else if (text[0]) {
    snprintf(call.told.line[call.next], GNOMON_LINE, "%s", text);
    call.next = (call.next + 1) % GNOMON_LINES;
    call.told.lines += call.told.lines < GNOMON_LINES;
  }
  call.continuing = !ends && text[0];
}

void gnomon_decoder_install(void) { av_log_set_callback(take_line); }

void gnomon_decoder_begin(const int32_t *stop, const char *transport, int live) {
  call.stop = stop;
  call.transport = transport;
  call.live = live;
  call.next = call.continuing = 0;
  call.print_prefix = 1;
  call.told.open_code = call.told.lines = 0;
  call.told.read_code = GNOMON_NOTHING_READ;
  call.told.width = call.told.height = 0;
  call.told.format = -1;
  call.active = 1;
}

void gnomon_decoder_end(gnomon_told *told, int lines) {
  call.active = 0;
  call.stop = NULL;
  call.transport = NULL;
  told->open_code = call.told.open_code;
  told->read_code = call.told.read_code;
  told->width = call.told.width;
  told->height = call.told.height;
  told->format = call.told.format;
  told->lines = lines ? call.told.lines : 0;
  int oldest = call.told.lines < GNOMON_LINES ? 0 : call.next;
  for (int i = 0; i < told->lines; i++) {
    memcpy(told->line[i], call.told.line[(oldest + i) % GNOMON_LINES], GNOMON_LINE);
  }
}

int __wrap_avformat_open_input(AVFormatContext **ps, const char *url, const AVInputFormat *fmt, AVDictionary **options) {
  if (call.active && call.live) {
    // The rate is measured anyway; without this a slow camera takes twenty pictures' time to open.
    av_dict_set(options, "fpsprobesize", "2", 0);
    if (call.transport && call.transport[0]) {
      av_dict_set(options, "rtsp_transport", call.transport, 0);
    }
  }
  int code = __real_avformat_open_input(ps, url, fmt, options);
  if (call.active) {
    call.told.open_code = code;
  }
  return code;
}

int __wrap_avformat_find_stream_info(AVFormatContext *ic, AVDictionary **options) {
  int code = __real_avformat_find_stream_info(ic, options);
  if (call.active) {
    call.told.open_code = code;
  }
  return code;
}

int __wrap_av_read_frame(AVFormatContext *s, AVPacket *pkt) {
  int code = __real_av_read_frame(s, pkt);
  if (call.active) {
    call.told.read_code = code;
  }
  return code;
}

int __wrap_avcodec_receive_frame(AVCodecContext *avctx, frame_head *frame) {
  int code = __real_avcodec_receive_frame(avctx, frame);
  if (call.active && code >= 0) {
    call.told.width = frame->width;
    call.told.height = frame->height;
    call.told.format = frame->format;
  }
  return code;
}

int __wrap_ff_check_interrupt(AVIOInterruptCB *cb) {
  if (call.stop && __atomic_load_n(call.stop, __ATOMIC_RELAXED)) {
    return 1;
  }
  return __real_ff_check_interrupt(cb);
}
