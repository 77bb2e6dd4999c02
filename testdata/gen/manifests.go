package main

// The manifests. SHA256 stands for the digest of the model's file.
const (
	yolov5Manifest = `# Every key that makes sense for this family.
name: test-yolov5
version: "1.2"
family: yolov5
input:
  name: images
  width: 128
  height: 64
  layout: nchw
  type: float32
color: rgb
scale: 0.00392156862745098 # 1/255
mean: [0, 0, 0]
std: [1, 1, 1]
resize: letterbox
pad: 114
labels: [red, "gardener's green", blue]
score_threshold: 0.25
iou_threshold: 0.45
max_detections: 100
sha256: SHA256
licence: Apache-2.0
`
	yoloxManifest = `# The shape of the output alone would do for YOLOv5 as well.
name: test-yolox
version: "1"
family: yolox
decoded: false
color: bgr
scale: 1
resize: letterbox-top-left
pad: 114
labels:
  - red
  - gardener's green
  - blue
licence: Apache-2.0
`
	nanodetManifest = `name: test-nanodet
version: "1"
family: nanodet
input: {width: 128, height: 64, layout: nchw}
color: bgr
scale: 1
mean: [103.53, 116.28, 123.675]
std: [57.375, 57.12, 58.395]
resize: stretch
pad: 0
labels: [red, gardener's green, blue]
score_threshold: 0.35
iou_threshold: 0.6
sha256: SHA256
licence: Apache-2.0
`
	nhwcManifest = `name: test-nhwc
version: "1"
family: yolov8
input: {width: 128, height: 64, layout: nhwc}
color: bgr
scale: 1
labels: [red, gardener's green, blue]
licence: Apache-2.0
`
	uint8Manifest = `name: test-uint8
version: "1"
family: yolov8
input: {type: uint8, layout: nhwc}
color: rgb
labels: [red, gardener's green, blue]
licence: Apache-2.0
`
	dynamicManifest = `# The model takes any size; the shapes do not say which was meant.
name: test-dynamic
version: "1"
family: yolov8
input: {width: 256, height: 128}
labels: [red, gardener's green, blue]
licence: Apache-2.0
`
	nanodetPlusManifest = `name: test-nanodet-plus
version: "1"
family: nanodet
resize: stretch
labels: [red, gardener's green, blue]
licence: Apache-2.0
`
	rtdetrManifest = `name: test-rtdetr
version: "1"
labels: [red, gardener's green, blue]
score_threshold: 0.25
licence: Apache-2.0
`
	rfdetrManifest = `# The last of four columns has no label.
name: test-rfdetr
version: "1"
labels: [red, gardener's green, blue]
score_threshold: 0.25
licence: Apache-2.0
`
	yunetManifest = `# Without labels its only class would be called face.
name: test-yunet
version: "1"
input: {width: 128, height: 64}
labels: [red]
score_threshold: 0.25
licence: Apache-2.0
`
	ssdManifest = `name: test-ssd
version: "1"
input: {width: 128, height: 64}
labels: [red, gardener's green, blue]
score_threshold: 0.25
licence: Apache-2.0
`
)
