package embedded

import "embed"

//go:embed all:parts/linux_arm64
var platform embed.FS

const (
	platformDir = "parts/linux_arm64"

	branchesEncoded = false // see third_party/onnxruntime.sh
)
