# gnomon's commands. `make help` lists them; CI calls nothing else.
#
# Native parts (FFmpeg, OpenCV, ONNX Runtime, the default model) are made by third_party/native.sh into a cache
# outside the clone ($GNOMON_CACHE) and are found again there: the first build takes about 20 minutes on 2 cores,
# later ones seconds.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET  ?= linux-$(shell dpkg --print-architecture 2>/dev/null || go env GOARCH)
ENV     := .native/env-$(TARGET)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# Symbols of the archives are not exported: ONNX Runtime, loaded later, must bind to the system's C++ runtime and not
# to the copy in here. What nobody can reach is left out of the file.
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -extldflags "-Wl,--exclude-libs,ALL -Wl,--gc-sections"

# Packages without cgo: they are tested once more with CGO_ENABLED=0 (docs/architecture.md, "Pure packages").
PURE := ./engine ./engine/letterbox ./engine/detect ./engine/scene ./camera/child ./camera/reach ./camera/testcard ./camera/v4l2 \
	./config/... ./models/... ./shadow ./cloud/... ./telemetry/... ./supervise ./doctor ./devcloud/... ./bench/... ./third_party/... ./testdata/gen

# What `make test` passes to go test, e.g. make test TESTFLAGS='-run Detect -v'.
TESTFLAGS ?=

# Tests that need something skip without it; where the Makefile has made it, its absence is a failure.
REQUIRE := GNOMON_REQUIRE_MOSQUITTO=1 GNOMON_REQUIRE_PARTS=1 GNOMON_REQUIRE_CAMERAS=1

.PHONY: help native test-packages build run test test-pure test-arm64 test-bare test-binary test-cache test-interop lint fmt bench soak soak-month gpu-test clean

help: ## list these commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

native: ## native parts only: FFmpeg, OpenCV, ONNX Runtime, default model
	@third_party/native.sh $(TARGET) >/dev/null

test-packages: native
	@third_party/packages.sh test

build: native ## bin/gnomon, one file
	@echo "compiling bin/gnomon (the first time a few minutes)"
	@. $(ENV) && go build -trimpath -ldflags '$(LDFLAGS)' -o bin/gnomon .
	@. $(ENV) && cmp -s "$$GNOMON_SAMPLE" bin/sample.avi || { cp "$$GNOMON_SAMPLE" bin/sample.avi.new && mv bin/sample.avi.new bin/sample.avi; }
	@ls -l --block-size=M bin/gnomon | awk '{ print "bin/gnomon: " $$5 }'

run: build ## the demo: sample video, default model, a broker, a live screen
	@bin/gnomon run

test: test-packages build test-pure test-arm64 test-bare test-binary test-cache ## every test; the last lines are go test's own
	@. $(ENV) && $(REQUIRE) go test -race -timeout 30m $(TESTFLAGS) ./... ./testdata/gen

# The packages without cgo, on their own: they must build and pass where there is neither OpenCV nor a C compiler.
test-pure:
	@mkdir -p .native && CGO_ENABLED=0 go test $(PURE) >.native/pure.log || { cat .native/pure.log; exit 1; }
	@echo "pure packages: passed without cgo"

# The code that is written for 64-bit ARM, on an emulator where the machine is another one.
test-arm64: test-packages
	@[ "$$(uname -m)" = aarch64 ] || { \
		mkdir -p .native && GOFLAGS= CGO_CPPFLAGS= CGO_LDFLAGS= GOARCH=arm64 CGO_ENABLED=1 CGO_CFLAGS="-O2 -g" CC=aarch64-linux-gnu-gcc \
			go test -exec 'qemu-aarch64 -L /usr/aarch64-linux-gnu' ./engine/tensor >.native/arm64.log 2>&1 || { cat .native/arm64.log; exit 1; }; \
		echo "engine/tensor: passed on arm64"; }

# A bare clone, without any native part, must compile, and its binary must say what is missing.
test-bare:
	@third_party/test-bare.sh

# What is promised of the file that people copy.
test-binary: build
	@third_party/test-binary.sh bin/gnomon

# What is promised of the cache that the recipes share.
test-cache:
	@third_party/test-lib.sh

test-interop: native ## against programs that we did not write: mosquitto and its clients, the AWS CLI, AWS's device SDK
	@third_party/packages.sh interop
	@GNOMON_NODE_MODULES=$$(third_party/interop.sh) && export GNOMON_NODE_MODULES && . $(ENV) && \
		$(REQUIRE) GNOMON_REQUIRE_INTEROP=1 go test -count=1 -v -run 'Mosquitto|AWSCLI|AWSGuide|NodeSDK' \
		. ./telemetry/ ./devcloud/ ./devcloud/interop/ >.native/interop.log || { cat .native/interop.log; exit 1; }
	@grep -E '^ *(--- |ok)' .native/interop.log

lint: test-packages ## formatting, vet, staticcheck and the import rules
	@. $(ENV) && third_party/lint/lint.sh

fmt: native ## format the Go sources
	@. $(ENV) && third_party/lint/lint.sh --fix

bench: build ## gnomon against its targets and other programs: BENCH_MODELS=DIR names models, BENCHFLAGS=--help lists flags
	@. $(ENV) && third_party/bench.sh $(BENCHFLAGS)

SOAK ?= 1h
soak: build test-packages ## an hour (SOAK=3m) with cameras that go away, cuts and exchanges of models; .native/soak.html
	@mkdir -p .native && GOFLAGS= CGO_ENABLED=0 go run ./bench/soak --gnomon bin/gnomon --duration $(SOAK) --html .native/soak.html

soak-month: ## thirty days of the agent's parts on a clock of their own
	@GOFLAGS= CGO_ENABLED=0 GNOMON_SOAK_DAYS=30 go test -count=1 -v -timeout 45m -run TestMonth ./bench/soak/month

gpu-test: native ## checks that need an NVIDIA GPU and GNOMON_GPU_LIBRARY, a GPU build of ONNX Runtime; skips with a reason
	@. $(ENV) && go test -count=1 -run '^TestGPU$$' -v ./engine/ort

clean: ## remove what builds left in the clone; the cache stays
	@rm -rf bin .native
	@find third_party/embedded/parts -type f ! -name README -delete
