//go:build opencv

package camera

// void gnomon_opencv_quiet(void);
import "C"

// quiet stops OpenCV's own lines on stderr: what matters comes back as errors.
func quiet() { C.gnomon_opencv_quiet() }
