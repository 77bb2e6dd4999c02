package config_test

import (
	"fmt"
	"strings"
	"testing"

	"gnomon/config"
)

// badConfigs are files and what is said about them. The JSON schema must refuse those with schema set; the others are
// rules between keys, or bytes where the schema counts characters, which are Validate's alone.
var badConfigs = []struct {
	text, want string
	schema     bool
}{
	// Keys and types.
	{"mqtt:\n  brokr: embedded", `2:3: unknown key "brokr" in mqtt; did you mean "broker"?`, true},
	{"camera: {}", `1:1: unknown key "camera" in the top level; its keys are device, sources, model, engine, mqtt, shadow, models, aws, telemetry, log`, true},
	{"sources:\n  a: {url: sample}", `2:7: unknown key "url" in sources.a; did you mean "uri"?`, true},
	{"log: {level: info, level: warn}", `1:20: log.level is set twice; the first is on line 1`, false},
	{"device: box", `1:9: device must be a mapping ("key: value" lines), not the text "box"`, true},
	{"device: {thing: 7}", `1:17: device.thing must be text, not the number 7; put it in quotes: "7"`, true},
	{"sources: [a]", `1:10: sources must be a mapping ("key: value" lines), not a list`, true},
	{"engine: {spinning: 1}", `1:20: engine.spinning must be true or false, not the number 1`, true},
	{"mqtt: {qos: one}", `1:13: mqtt.qos must be a whole number, not the text "one"`, true},
	{"mqtt:\n  outbox: 1.5", `2:11: mqtt.outbox must be a whole number, not the number 1.5`, true},
	{"log:\n  level:", `2:3: log.level is empty; write a value or remove the key`, true},

	// telemetry
	{"telemetry: {spool: {max_size: 1MB}}", `1:31: telemetry.spool.max_size must be from 16MB to 64GB, not 1MB`, false},
	{"telemetry: {spool: {commit_every: 1ms}}", `1:35: telemetry.spool.commit_every must be from 10ms to 10s, not 1ms`, false},
	{"telemetry: {basic_ingest: {logs: a-b}}", `1:34: telemetry.basic_ingest.logs must be the name of a rule, letters, digits and _, not "a-b"`, true},
	{"telemetry: {metrics: {every: 1s}}", `1:30: telemetry.metrics.every must be from 5s to 1h, not 1s`, false},
	{"telemetry: {metrics: {listen: ':9464'}}", `1:31: telemetry.metrics.listen must be an address and port such as 127.0.0.1:9464, not ":9464"`, false},
	{"telemetry: {metrics: {cloudwatch_namespace: AWS/x}}", `1:45: telemetry.metrics.cloudwatch_namespace must be letters, digits and . _ / # : -, not beginning with AWS/: "AWS/x"`, false},
	{"telemetry: {logs: {rate: 0}}", `1:26: telemetry.logs.rate must be from 1 to 1000, not 0`, true},
	{"telemetry: {logs: {journal_units: ['-f']}}", `1:36: telemetry.logs.journal_units[0] must be the name of a unit such as docker.service, not "-f"`, false},
	{"telemetry: {logs: {files: [a, a]}}", `1:31: telemetry.logs.files[1] is there twice: "a"; remove one`, true},
	{"shadow: {enabled: true}\nmqtt: {broker: 'mqtts://b'}\naws: {rotation_template: gnomon-rotate}", `3:26: aws.rotation_template needs the device's certificate; set mqtt.cert_file and mqtt.key_file`, false},
	{"aws: {rotation_template: r/r}", `1:26: aws.rotation_template is ordered with through the shadow; set shadow.enabled
gnomon.yaml:1:26: aws.rotation_template needs the device's certificate; set mqtt.cert_file and mqtt.key_file
gnomon.yaml:1:26: aws.rotation_template must be at most 36 letters, digits, _ and -, not "r/r"`, false},
	{"aws: {parameters: {path: /gnomon/}}", `1:26: aws.parameters.path must be a path such as /gnomon/fleet, without a slash at its end, not "/gnomon/"`, true},
	{"aws: {parameters: {path: /gnomon/fleet}}", `1:26: aws.parameters.path needs credentials; set aws.credentials_endpoint and aws.role_alias`, false},

	// device
	{"device: {thing: a/b}", `1:17: device.thing must not have / + # spaces or control characters, as it is one level of a topic: "a/b"`, true},
	{"device: {thing: my box}", `1:17: device.thing must not have / + # spaces or control characters, as it is one level of a topic: "my box"`, true},
	{"device: {thing: " + strings.Repeat("x", 129) + "}", `1:17: device.thing has 129 bytes, more than the 128 that are allowed`, true},
	{"device: {thing: " + strings.Repeat("é", 65) + "}", `1:17: device.thing has 130 bytes, more than the 128 that are allowed`, false},

	// sources
	{"sources:", `1:1: sources has no entry; add one such as front: {uri: /dev/video0}, or remove the key for the sample video`, true},
	{"sources: {}", `1:10: sources has no entry; add one such as front: {uri: /dev/video0}, or remove the key for the sample video`, true},
	{"sources: {a/b: {uri: sample}}", `1:16: sources.a/b has a name that cannot be part of a topic; use 1 to 64 letters, digits, _ . or -`, true},
	{"sources:\n  a:\n    loop: true", `2:3: sources.a.uri is missing; write a video file, a folder of pictures, /dev/video0, rtsp://… or sample`, true},
	{"sources:\n  a.b:\n    uri: ''", `3:10: sources["a.b"].uri is missing; write a video file, a folder of pictures, /dev/video0, rtsp://… or sample`, true},
	{"sources: {a: {uri: '0'}}", `1:20: sources.a.uri is "0"; write the camera's device: /dev/video0`, false},
	{"sources: {a: {uri: 'file:///x.mp4'}}", `1:20: sources.a.uri is "file:///x.mp4"; write the path alone for a file`, false},
	{"sources: {a: {uri: 'rtsps://h/x'}}", `1:20: sources.a.uri begins with "rtsps://", which cannot be opened; streams begin with rtsp://, rtmp://, http://, udp://, tcp://`, false},
	{"sources: {a: {uri: 'rtsp://'}}", `1:20: sources.a.uri is not a valid URL: "rtsp://"; write rtsp://HOST:PORT/PATH, with % and two digits for special characters in a password`, false},
	{"sources: {a: {uri: 'rtsp://u:secret%@cam:99999/x'}}", `1:20: sources.a.uri is not a valid URL: "rtsp://***@cam:99999/x"; write rtsp://HOST:PORT/PATH, with % and two digits for special characters in a password`, false},
	{"sources: {a: {uri: 'rtsp://cam', loop: true}}", `1:40: sources.a.loop is for files only, and this source is a live stream; remove it`, false},
	{"sources: {a: {uri: /dev/video0, pace: max}}", `1:39: sources.a.pace is for files only, and this source is a camera; remove it`, false},
	{"sources: {a: {uri: a.mp4, pace: fast}}", `1:33: sources.a.pace must be one of realtime, max, not "fast"`, true},
	{"sources: {a: {uri: a.mp4, width: 640, height: 480}}", "1:34: sources.a.width is for cameras of this machine, programs and test: only, and this source is a file; remove it\ngnomon.yaml:1:47: sources.a.height is for cameras of this machine, programs and test: only, and this source is a file; remove it", false},
	{"sources: {a: {uri: 'rtsp://cam', fps: 5}}", `1:39: sources.a.fps is for cameras of this machine, programs and test: only, and this source is a live stream; remove it`, false},
	{"sources: {a: {uri: sample, fps: 5}}", `1:33: sources.a.fps is for cameras of this machine, programs and test: only, and this source is a video (sample); remove it`, false},
	{"sources: {a: {uri: /dev/video0, width: 640}}", `1:40: sources.a.width is set but height is not; write both or neither`, false},
	{"sources: {a: {uri: /dev/video0, height: 480}}", `1:41: sources.a.height is set but width is not; write both or neither`, false},
	{"sources: {a: {uri: /dev/video0, width: -1, height: 99999}}", "1:40: sources.a.width must be from 0 to 16384, not -1\ngnomon.yaml:1:52: sources.a.height must be from 0 to 16384, not 99999", true},
	{"sources: {a: {uri: /dev/video0, fps: -5}}", `1:38: sources.a.fps must be from 0 to 1000, not -5`, true},
	{"sources: {a: {uri: 'test:', fps: 0.05}}", `1:34: sources.a.fps must be at least 0.1, or 0 for the camera's choice, not 0.05; detect_fps makes a source slower`, false},
	{"sources: {a: {uri: 'test:', width: 16384, height: 16384}}", `1:51: sources.a.height makes pictures of more than 134 million pixels; write a smaller width or height`, false},
	{"sources: {a: {uri: 'rtsp://u:secret word@cam/x'}}", `1:20: sources.a.uri is not a valid URL: "rtsp://***@cam/x"; write rtsp://HOST:PORT/PATH, with % and two digits for special characters in a password`, false},
	{"sources: {a: {uri: 'rtsp://cam/x y'}}", `1:20: sources.a.uri is not a valid URL: "rtsp://cam/x y"; write rtsp://HOST:PORT/PATH, with % and two digits for special characters in a password`, false},
	{"sources: {a: {uri: 'exec: '}}", `1:20: sources.a.uri is exec: without a command; write one behind the colon`, false},
	{"sources: {a: {uri: 'gst:'}}", `1:20: sources.a.uri is gst: without a pipeline; write one behind the colon`, false},
	{"sources: {a: {uri: usb}}", `1:20: sources.a.uri is "usb"; write usb:0, or ./usb if it is a file`, false},
	{"sources: {a: {uri: exec}}", `1:20: sources.a.uri is "exec"; write exec:…, or ./exec if it is a file`, false},
	{"sources: {a: {uri: 'usb:'}}", `1:20: sources.a.uri is "usb:"; write usb:0 for the first camera, at most usb:63`, false},
	{"sources: {a: {uri: 'csi:64'}}", `1:20: sources.a.uri is "csi:64"; write csi:0 for the first camera, at most csi:63`, false},
	{"sources: {a: {uri: 'rpi:+1'}}", `1:20: sources.a.uri is "rpi:+1"; write rpi:0 for the first camera, at most rpi:63`, false},
	{"sources: {a: {uri: 'CSI:0'}}", `1:20: sources.a.uri begins with "CSI:"; write it in small letters, as in csi:0`, false},
	{"sources: {a: {uri: 'test:640x480'}}", `1:20: sources.a.uri is "test:640x480"; write test: alone, with width, height and fps beside it`, false},
	{"sources: {a: {uri: 'csi:0', loop: true}}", `1:35: sources.a.loop is for files only, and this source is a camera; remove it`, false},
	{"sources: {a: {uri: 'test:', watch: true}}", `1:36: sources.a.watch is for folders only, and this source is a test picture; remove it`, false},
	{"sources: {a: {uri: d, watch: true, loop: true}}", `1:30: sources.a.watch waits for new pictures, and loop shows the old ones again; remove one of the two`, false},
	{"sources: {a: {uri: 'rtsp://cam', width: 640, height: 480}}", "1:41: sources.a.width is for cameras of this machine, programs and test: only, and this source is a live stream; remove it\ngnomon.yaml:1:54: sources.a.height is for cameras of this machine, programs and test: only, and this source is a live stream; remove it", false},
	{"sources: {a: {uri: 'usb:0', format: mjpeg}}", `1:37: sources.a.format must be one of mjpg, yuyv, not "mjpeg"`, false},
	{"sources: {a: {uri: 'exec:c', format: h264}}", `1:38: sources.a.format must be one of y4m, mjpeg, bgr, rgb, gray, i420, nv12, yuyv, not "h264"`, true},
	{"sources: {a: {uri: 'exec:c', format: bgr}}", `1:38: sources.a.format is bgr, which does not say how large a picture is; write width and height as well`, false},
	{"sources: {a: {uri: 'csi:0', format: yuyv}}", `1:37: sources.a.format is for /dev/video0, usb:, gst: and exec: only, and this source is a camera; remove it`, false},
	{"sources: {a: {uri: 'http://cam', transport: tcp}}", `1:45: sources.a.transport is for rtsp:// only; remove it`, false},
	{"sources: {a: {uri: 'rtsp://cam', transport: quic}}", `1:45: sources.a.transport must be one of tcp, udp, not "quic"`, true},
	{"sources: {a: {uri: 'csi:0', decoder: jetson}}", `1:38: sources.a.decoder is for rtsp:// only; remove it`, false},
	{"sources: {a: {uri: 'rtsp://cam', decoder: cuda}}", `1:43: sources.a.decoder must be one of jetson, not "cuda"`, true},
	{"sources: {a: {uri: sample, rotate: 45}}", `1:36: sources.a.rotate must be 0, 90, 180 or 270 degrees, not 45`, true},
	{"sources: {a: {uri: sample, flip: left}}", `1:34: sources.a.flip must be one of horizontal, vertical, both, not "left"`, true},
	{"sources: {a: {uri: sample, crop: 0.5}}", `1:34: sources.a.crop must be a list, [x, y, width, height], not the number 0.5`, true},
	{"sources: {a: {uri: sample, crop: [0, 0, 1]}}", `1:34: sources.a.crop must have 4 entries, [x, y, width, height], not 3`, true},
	{"sources: {a: {uri: sample, crop: [0, 0, 640, 480]}}", `1:34: sources.a.crop must be [x, y, width, height], each a share of the picture from 0 to 1`, true},
	{"sources: {a: {uri: sample, crop: [0, 0, 0, 0]}}", `1:34: sources.a.crop has no width and height; write [x, y, width, height] as shares from 0 to 1, or [] for all of the picture`, false},
	{"sources: {a: {uri: sample, roi: [0, 0, 1, 0]}}", `1:33: sources.a.roi has no width or no height; write [x, y, width, height], or [] for all of the picture`, false},
	{"sources: {a: {uri: sample, roi: [0.5, 0, 0.6, 1]}}", `1:33: sources.a.roi reaches over the edge of the picture; x and width together, and y and height together, must be at most 1`, false},
	{"sources: {a: {uri: sample, roi: [a, 0, 1, 1]}}", `1:34: sources.a.roi[0] must be a number, not the text "a"`, true},
	{"sources: {a: {uri: sample, labels: person}}", `1:36: sources.a.labels must be a list ([a, b] or lines that begin with -), not the text "person"`, true},
	{"sources: {a: {uri: sample, labels: [car, car]}}", `1:42: sources.a.labels[1] is there twice: "car"; remove one`, true},
	{"sources: {a: {uri: sample, labels: ['']}}", `1:37: sources.a.labels[0] is empty; write the name of a class, or remove it`, true},
	{"sources: {a: {uri: sample, labels: [" + strings.Repeat("x", 129) + "]}}", `1:37: sources.a.labels[0] has 129 bytes, more than the 128 that are allowed`, true},
	{"sources: {a: {uri: sample, labels: [" + strings.Repeat("x,", 1001) + "]}}", `1:36: sources.a.labels has 1001 entries, more than the 1000 that are allowed`, true},
	{"sources: {a: {uri: sample, detect_fps: 1001}}", `1:40: sources.a.detect_fps must be from 0 to 1000, not 1001`, true},
	{"sources: {a: {uri: sample, motion: 2}}", `1:36: sources.a.motion must be a share of the picture from 0 to 1, not 2`, true},
	{"sources: {a: {uri: sample, stall: 5s}}", `1:35: sources.a.stall is for live sources only, and this source is a video (sample); remove it`, false},
	{"sources: {a: {uri: 'test:', stall: 100ms}}", `1:36: sources.a.stall must be from 500ms to 10m, or 0s for two seconds or three frames, not 100ms`, false},
	{"sources: {a: {uri: sample, frozen_after: 100ms}}", `1:42: sources.a.frozen_after must be from 1s to 24h, or 0s for never, not 100ms`, false},
	{"sources: {a: {uri: sample, black_after: 25h}}", `1:41: sources.a.black_after must be from 1s to 24h, or 0s for never, not 25h`, false},
	{"sources: {a: {uri: sample, score_threshold: 0}}", `1:45: sources.a.score_threshold must be above 0 and at most 1, not 0; remove it for the model's own`, true},
	{"sources: {a: {uri: sample, score_threshold: 1.1}}", `1:45: sources.a.score_threshold must be above 0 and at most 1, not 1.1; remove it for the model's own`, true},
	{"sources: {a: {uri: sample, publish: all}}", `1:37: sources.a.publish must be one of detections, every-frame, not "all"`, true},

	// model
	{"model: {path: ''}", `1:15: model.path is empty; write the path of an .onnx file, or default for the model inside the program`, true},
	{"model: {path: 's3://b/m.onnx'}", `1:15: model.path is "s3://b/m.onnx"; models are read from files: write the path of an .onnx file, or default`, false},
	{"model: {manifest: m.yaml}", `1:19: model.manifest has no use with the model inside the program, which brings its own; remove it, or set model.path`, false},
	{`model: {path: "a\tb"}`, `1:15: model.path must not have control characters: "a\tb"`, false},

	// engine
	{"engine: {providers: []}", `1:21: engine.providers is empty; write [cpu], or remove the key`, true},
	{"engine: {providers: cuda}", `1:21: engine.providers must be a list ([a, b] or lines that begin with -), not the text "cuda"`, true},
	{"engine: {providers: [cuda, cuda]}", `1:28: engine.providers[1] is there twice: cuda; remove one`, true},
	{"engine: {providers: [cpu, cuda]}", `1:22: engine.providers[0] is cpu, which runs everything; what stands behind it is never used: put it last`, false},
	{"engine: {providers: ['a b']}", `1:22: engine.providers[0] must be tensorrt, cuda, cpu or the name of a plugin's provider, not "a b"`, true},
	{"engine: {providers: [a, b, c, d, e, f, g, h, i]}", `1:21: engine.providers has 9 entries, more than the 8 that are allowed`, true},
	{"engine: {plugins: ['']}", `1:20: engine.plugins[0] is empty; write the path of a library, or remove it`, true},
	{"engine: {provider_options: {cuda: {device_id: 1}}}", `1:47: engine.provider_options.cuda.device_id must be text, not the number 1; put it in quotes: "1"`, true},
	{"engine: {provider_options: {cpu: {}}}", `1:34: engine.provider_options.cpu must be tensorrt, cuda or the name of a plugin's provider`, false},
	{"engine: {tensorrt: {fp16: 1}}", `1:27: engine.tensorrt.fp16 must be true or false, not the number 1`, true},
	{"engine: {sessions: many}", `1:20: engine.sessions must be auto or a whole number from 1 to 64, not the text "many"`, true},
	{"engine: {batch: 33}", `1:17: engine.batch must be auto or from 1 to 32, not 33`, true},
	{"engine: {batch: 65}", `1:17: engine.batch must be auto or from 1 to 32, not 65`, true},
	{"engine: {threads: 0}", `1:19: engine.threads must be auto or from 1 to 64, not 0`, true},
	{"engine: {threads: 65}", `1:19: engine.threads must be auto or from 1 to 64, not 65`, true},
	{"engine: {threads: 1.5}", `1:19: engine.threads must be a whole number, not the number 1.5`, true},
	{"engine: {threads: [1]}", `1:19: engine.threads must be auto or a whole number from 1 to 64, not a list`, true},
	{"engine: {run_timeout: 10}", `1:23: engine.run_timeout must have a unit; write 10s for seconds`, true},
	{"engine: {run_timeout: soon}", `1:23: engine.run_timeout must be a duration such as 10s, 500ms or 1m30s, not the text "soon"`, true},
	{"engine: {run_timeout: -1s}", `1:23: engine.run_timeout must be a duration such as 10s, 500ms or 1m30s, not the text "-1s"`, true},
	{"engine: {run_timeout: 99ms}", `1:23: engine.run_timeout must be from 100ms to 10m, not 99ms`, false},
	{"engine: {run_timeout: 9999999h}", `1:23: engine.run_timeout is out of range: "9999999h"`, false},

	// mqtt
	{"mqtt: {broker: 'localhost:1883'}", `1:16: mqtt.broker is "localhost:1883"; write embedded, mqtt://HOST:1883, or mqtts://HOST:8883 for TLS`, true},
	{"mqtt: {broker: 'http://h'}", `1:16: mqtt.broker begins with "http://"; write embedded, mqtt://HOST:1883, or mqtts://HOST:8883 for TLS`, true},
	{"mqtt: {broker: 'mqtt://u:secret@h:1883'}", `1:16: mqtt.broker must not hold a password; use username and password_file`, true},
	{"mqtt: {broker: 'mqtt://h:70000'}", `1:16: mqtt.broker is not a host and port: "mqtt://h:70000"; write embedded, mqtt://HOST:1883, or mqtts://HOST:8883 for TLS`, false},
	{"mqtt: {broker: 'mqtt://h/topic'}", `1:16: mqtt.broker is not a host and port: "mqtt://h/topic"; write embedded, mqtt://HOST:1883, or mqtts://HOST:8883 for TLS`, false},
	{"mqtt: {broker: 'mqtt://:1883'}", `1:16: mqtt.broker is not a host and port: "mqtt://:1883"; write embedded, mqtt://HOST:1883, or mqtts://HOST:8883 for TLS`, false},
	{"mqtt: {username: u}", `1:18: mqtt.username has no use with the embedded broker, which asks for none; remove it, or set mqtt.broker`, false},
	{"mqtt: {password_file: p}", `1:23: mqtt.password_file has no use with the embedded broker, which asks for none; remove it, or set mqtt.broker`, false},
	{"mqtt: {broker: 'mqtt://h', password_file: p}", `1:43: mqtt.password_file is set but mqtt.username is not; write both, or neither`, false},
	{"mqtt: {broker: 'mqtt://h', ca_file: c}", `1:37: mqtt.ca_file is for TLS, and mqtt.broker is "mqtt://h"; write mqtts://HOST:8883 there, or remove it`, false},
	{"mqtt:\n  cert_file: c\n  key_file: k", "2:14: mqtt.cert_file is for TLS, and mqtt.broker is \"embedded\"; write mqtts://HOST:8883 there, or remove it\ngnomon.yaml:3:13: mqtt.key_file is for TLS, and mqtt.broker is \"embedded\"; write mqtts://HOST:8883 there, or remove it", false},
	{"mqtt: {broker: 'mqtts://h', cert_file: c}", `1:40: mqtt.cert_file is set but mqtt.key_file is not; write both or neither`, false},
	{"mqtt: {broker: 'mqtts://h', key_file: k}", `1:39: mqtt.key_file is set but mqtt.cert_file is not; write both or neither`, false},
	{"mqtt: {client_id: " + strings.Repeat("x", 129) + "}", `1:19: mqtt.client_id has 129 bytes, more than the 128 that are allowed`, true},
	{`mqtt: {client_id: "a\nb"}`, `1:19: mqtt.client_id must not have control characters: "a\nb"`, false},
	{"mqtt: {topic_prefix: ''}", `1:22: mqtt.topic_prefix is empty; write at least one level, such as dt`, true},
	{"mqtt: {topic_prefix: /dt}", `1:22: mqtt.topic_prefix must be 1 to 5 levels with single slashes between them, none at the ends, not beginning with $, and without + # or spaces: "/dt"`, true},
	{"mqtt: {topic_prefix: dt/}", `1:22: mqtt.topic_prefix must be 1 to 5 levels with single slashes between them, none at the ends, not beginning with $, and without + # or spaces: "dt/"`, true},
	{"mqtt: {topic_prefix: dt/+/x}", `1:22: mqtt.topic_prefix must be 1 to 5 levels with single slashes between them, none at the ends, not beginning with $, and without + # or spaces: "dt/+/x"`, true},
	{"mqtt: {topic_prefix: $aws/x}", `1:22: mqtt.topic_prefix must be 1 to 5 levels with single slashes between them, none at the ends, not beginning with $, and without + # or spaces: "$aws/x"`, true},
	{"mqtt: {topic_prefix: a/b/c/d/e/f}", `1:22: mqtt.topic_prefix must be 1 to 5 levels with single slashes between them, none at the ends, not beginning with $, and without + # or spaces: "a/b/c/d/e/f"`, true},
	{"mqtt: {topic_prefix: " + strings.Repeat("x", 174) + "}", `1:22: mqtt.topic_prefix makes topics of up to 257 bytes (PREFIX/THING/SOURCE/detections), more than the 256 that are allowed; shorten it, device.thing or the sources' names`, false},
	{"mqtt: {qos: 2}", `1:13: mqtt.qos must be 0 or 1, not 2`, true},
	{"mqtt: {keep_alive: 5s}", `1:20: mqtt.keep_alive must be from 30s to 20m, not 5s`, false},
	{"mqtt: {keep_alive: 1h}", `1:20: mqtt.keep_alive must be from 30s to 20m, not 1h`, false},
	{"mqtt: {outbox: 0}", `1:16: mqtt.outbox must be from 1 to 100000, not 0`, true},
	{"mqtt: {publish: all}", `1:17: mqtt.publish must be one of detections, every-frame, not "all"`, true},

	// log, and several at once
	{"log: {level: verbose}", `1:14: log.level must be one of debug, info, warn, error, not "verbose"`, true},
	{"log: {format: xml}", `1:15: log.format must be one of auto, json, console, not "xml"`, true},
	{"log: {level: loud}\nmqtt: {qos: 3}\ndevice: {thing: '#'}", "1:14: log.level must be one of debug, info, warn, error, not \"loud\"\ngnomon.yaml:2:13: mqtt.qos must be 0 or 1, not 3\ngnomon.yaml:3:17: device.thing must not have / + # spaces or control characters, as it is one level of a topic: \"#\"", true},

	// shadow, models, aws
	{"shadow: {enabled: true}", `1:19: shadow.enabled needs AWS IoT's broker, or that of gnomon devcloud; set mqtt.broker`, false},
	{"shadow: {name: a/b}", `1:16: shadow.name must be at most 64 letters, digits and : _ -, not "a/b"`, true},
	{"device: {thing: ä}\nmqtt: {broker: 'mqtt://b'}\nshadow: {enabled: true}", `1:17: device.thing must be letters, digits and : _ - for AWS IoT, as shadow.enabled is set: "ä"`, false},
	{"sources: {a: {uri: sample, slot: A}}", `1:34: sources.a.slot must be 1 to 64 of a-z, 0-9, _ and -, not "A"`, true},
	{"models: {max_size: 4}", `1:20: models.max_size must have a unit; write 4B for bytes, or KB, MB, GB`, true},
	{"models: {max_size: 4 GB}", `1:20: models.max_size must be a size such as 20MB or 4GB, not the text "4 GB"`, true},
	{"models: {max_size: 9999999999GB}", `1:20: models.max_size must be a size such as 20MB or 4GB, not the text "9999999999GB"`, true},
	{"models: {download_size: 1KB}", `1:25: models.download_size must be at least 1MB, not 1KB`, false},
	{"models: {allow: ['*']}", `1:18: models.allow[0] must begin with s3://BUCKET/, oci://REGISTRY/, https://HOST/ or file:///, not "*"`, false},
	{"models: {allow: ['http://h/*']}", `1:18: models.allow[0] must begin with s3://BUCKET/, oci://REGISTRY/, https://HOST/ or file:///, not "http://h/*"`, false},
	{"models: {trusted_keys: ['']}", `1:25: models.trusted_keys[0] is empty; write a value or remove it`, true},
	{"models: {probation: 0s}", `1:21: models.probation must be from 1s to 24h, not 0s`, false},
	{"models: {max_slowdown: 0.5}", `1:24: models.max_slowdown must be from 1 to 1000, or 0 to switch the check off, not 0.5`, false},
	{"models: {min_detections: 2}", `1:26: models.min_detections must be at least 0 and below 1, not 2`, true},
	{"models: {min_detections: 1}", `1:26: models.min_detections must be at least 0 and below 1, not 1`, true},
	{"models: {probe_memory: 1KB}", `1:24: models.probe_memory must be at least 64MB, not 1KB; 0 fits the machine`, false},
	{"aws: {credentials_endpoint: c.example, role_alias: a}\nmqtt: {broker: 'mqtts://b', cert_file: c, key_file: k}", `1:52: aws.role_alias needs a region; set aws.region`, false},
	{"models: {probe_timeout: 1s}", `1:25: models.probe_timeout must be from 5s to 1h, not 1s`, false},
	{"models: {download_timeout: 1s}", `1:28: models.download_timeout must be from 1m to 168h, not 1s`, false},
	{"aws: {region: Frankfurt}", `1:15: aws.region is no region: "Frankfurt"; write one such as eu-central-1`, true},
	{"aws: {role_alias: a}", `1:19: aws.role_alias is set but aws.credentials_endpoint is not; write both or neither`, false},
	{"aws: {role_alias: a, credentials_endpoint: c.example, region: eu-central-1}", `1:19: aws.role_alias needs the device's certificate; set mqtt.cert_file and mqtt.key_file`, false},
	{"aws: {credentials_endpoint: 'http://x/y', role_alias: a, region: eu-central-1}\nmqtt: {broker: 'mqtts://b', cert_file: c, key_file: k}", `1:29: aws.credentials_endpoint must be a host such as c2example.credentials.iot.eu-central-1.amazonaws.com, not "http://x/y"`, false},
	{"aws: {endpoint_url: 'http://u:secret@h'}", `1:21: aws.endpoint_url must be https://HOST:PORT, not "http://***@h"`, false},
	{"aws: {ecr_registries: ['https://h']}", `1:24: aws.ecr_registries[0] must be HOST or HOST:PORT, not "https://h"`, true},
}

func TestBadConfigs(t *testing.T) {
	for _, tt := range badConfigs {
		_, err := config.Parse("gnomon.yaml", []byte(tt.text))
		if want := "gnomon.yaml:" + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", tt.text, err, want)
		}
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: the password is in the error: %v", tt.text, err)
		}
	}
}

func TestTooManySources(t *testing.T) {
	var text strings.Builder
	text.WriteString("sources:\n")
	for i := range 65 {
		fmt.Fprintf(&text, "  s%d: {uri: sample}\n", i)
	}
	_, err := config.Parse("gnomon.yaml", []byte(text.String()))
	if want := "gnomon.yaml:1:1: sources has 65 entries, more than the 64 that are allowed"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
