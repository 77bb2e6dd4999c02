package embedded

import "embed"

//go:embed all:parts/linux_amd64
var platform embed.FS

const (
	platformDir = "parts/linux_amd64"

	branchesEncoded = true // see third_party/onnxruntime.sh
)
