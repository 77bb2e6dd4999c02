//go:build !amd64 && !arm64

package embedded

import "embed"

// No ONNX Runtime is fetched for this platform: give one by path with engine.library.
var platform embed.FS

const (
	platformDir = "parts/none"

	branchesEncoded = false
)
