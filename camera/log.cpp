//go:build opencv

// OpenCV reads OPENCV_LOG_LEVEL before main starts, so the level is set through its interface, which gocv does not
// bind.
#include <opencv2/core/utils/logger.hpp>

extern "C" void gnomon_opencv_quiet(void) {
  cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
}
