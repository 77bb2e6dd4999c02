//go:build opencv

#include "live_capture.h"

#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>

#include <new>
#include <vector>

struct gnomon_capture {
  cv::VideoCapture capture;
  int32_t stop = 0;
};

namespace {

// attempt runs f between begin and end, and takes what it throws for failure.
template <typename F>
int attempt(gnomon_capture *c, gnomon_told *told, const char *transport, int live, F f) {
  gnomon_decoder_begin(&c->stop, transport, live);
  bool ok = false;
  try {
    ok = f();
  } catch (...) {
  }
  gnomon_decoder_end(told, !ok);
  return ok;
}

} // namespace

gnomon_capture *gnomon_capture_new(void) { return new (std::nothrow) gnomon_capture; }

int gnomon_capture_stream(gnomon_capture *c, const char *uri, const char *transport, int open_ms, int read_ms, gnomon_told *told) {
  return attempt(c, told, transport, 1, [&] {
    // One decoding thread: decoding is a small part of the work, and threads of its own would fight the models'.
    const std::vector<int> params = {cv::CAP_PROP_N_THREADS, 1, cv::CAP_PROP_OPEN_TIMEOUT_MSEC, open_ms, cv::CAP_PROP_READ_TIMEOUT_MSEC, read_ms};
    return c->capture.open(uri, cv::CAP_FFMPEG, params);
  });
}

int gnomon_capture_device(gnomon_capture *c, const char *path, gnomon_told *told) {
  return attempt(c, told, nullptr, 1, [&] { return c->capture.open(path, cv::CAP_V4L2); });
}

int gnomon_capture_grab(gnomon_capture *c, gnomon_told *told, double *position_ms) {
  return attempt(c, told, nullptr, 1, [&] {
    const bool ok = c->capture.grab();
    *position_ms = ok ? c->capture.get(cv::CAP_PROP_POS_MSEC) : 0;
    return ok;
  });
}

int gnomon_capture_retrieve(gnomon_capture *c, void *mat) {
  try {
    cv::Mat &to = *static_cast<cv::Mat *>(mat);
    return c->capture.retrieve(to) && !to.empty();
  } catch (...) {
    return 0;
  }
}

double gnomon_capture_get(gnomon_capture *c, int property) {
  try {
    return c->capture.get(property);
  } catch (...) {
    return 0;
  }
}

int gnomon_capture_set(gnomon_capture *c, int property, double value) {
  try {
    return c->capture.set(property, value);
  } catch (...) {
    return 0;
  }
}

void gnomon_capture_free(gnomon_capture *c) { delete c; }

void gnomon_capture_stop(gnomon_capture *c) { __atomic_store_n(&c->stop, 1, __ATOMIC_RELAXED); }

int gnomon_place(const uint8_t *pix, int width, int height, int64_t stride, int quarters, int mirror, void *mat) {
  try {
    cv::Mat &to = *static_cast<cv::Mat *>(mat);
    const cv::Mat from(height, width, CV_8UC3, const_cast<uint8_t *>(pix), static_cast<size_t>(stride));
    switch (quarters) {
    case 1:
      cv::rotate(from, to, cv::ROTATE_90_CLOCKWISE);
      break;
    case 2:
      cv::rotate(from, to, cv::ROTATE_180);
      break;
    case 3:
      cv::rotate(from, to, cv::ROTATE_90_COUNTERCLOCKWISE);
      break;
    default:
      from.copyTo(to);
    }
    if (mirror) {
      cv::flip(to, to, mirror == 3 ? -1 : mirror == 1 ? 1 : 0);
    }
    return 1;
  } catch (...) {
    return 0;
  }
}
