package ort

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

var errEmbedded = errors.New("set engine.library to a GPU build of ONNX Runtime (docs/providers.md); the one inside the binary runs on the CPU")

// explain adds what to do to what ONNX Runtime and the loader say about a provider.
func (r *Runtime) explain(name string, err error) error {
	if errors.Is(err, errEmbedded) {
		return err
	}
	msg := said(err)
	if hint := hint(name, msg, r.library, r.Version()); hint != "" {
		return fmt.Errorf("%s; %s", strings.TrimSuffix(msg, "."), hint)
	}
	return errors.New(msg)
}

// said is what ONNX Runtime says, without where in its sources it says it.
func said(err error) string {
	msg := plain(err)
	if _, after, found := strings.Cut(msg, "[ONNXRuntimeError] : "); found {
		if parts := strings.SplitN(after, " : ", 3); len(parts) == 3 { // a number, its name, the message
			msg = parts[2]
		}
	}
	return msg
}

// hint is what to do about a message; empty: nobody knows.
func hint(name, msg, library, version string) string {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(msg, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("not enabled in this build", "Unknown provider name", "not supported in this build"):
		return fmt.Sprintf("%s is a build for the CPU: set engine.library to a GPU build of ONNX Runtime, %s", library, gpuBuild(version))
	case has("libnvinfer", "libnvonnxparser"):
		return "install TensorRT, in the version that this ONNX Runtime was built for: apt-get install libnvinfer10 libnvinfer-plugin10 libnvonnxparsers10 (on a Jetson it comes with JetPack: nvidia-tensorrt)"
	case has("libcudnn", "libcublas", "libcudart", "libcurand", "libcufft", "libnvrtc"):
		return "install CUDA and cuDNN, in the versions that this ONNX Runtime was built for (on a Jetson they come with JetPack: nvidia-cuda, nvidia-cudnn), and let the loader find them: ldconfig, or LD_LIBRARY_PATH"
	case has("libcuda.so", "CUDA driver version is insufficient", "no CUDA-capable device", "CUDA failure 35", "CUDA failure 100"):
		return "the NVIDIA driver or the GPU itself is missing; nvidia-smi (on a Jetson tegrastats) must see it, and a container has to be given it: --gpus all, or --runtime nvidia"
	case has("libonnxruntime_providers") && has("No such file", "cannot open shared object"):
		return fmt.Sprintf("the file that belongs beside %s is missing: copy all libonnxruntime_providers_*.so from the package that it came from", library)
	case has("invalid ELF header", "undefined symbol", "symbol lookup", "version `"):
		return "it does not belong to this ONNX Runtime: " + copyAgain
	case has("out of memory", "CUDA failure 2:", "Failed to allocate memory"):
		return "the memory of the GPU does not suffice: use fewer sessions (engine.sessions) or a smaller model"
	case name == TensorRT && has("INT8", "calibration"):
		return "INT8 needs a model that is quantised already, or a calibration table (trt_int8_calibration_table_name in engine.provider_options.tensorrt)"
	}
	return ""
}

// gpuBuild says where a GPU build comes from.
func gpuBuild(version string) string {
	if runtime.GOARCH == "arm64" {
		return "on a Jetson NVIDIA's own for this JetPack, such as onnxruntime/capi/libonnxruntime.so.* in its wheel (docs/providers.md)"
	}
	return fmt.Sprintf("such as lib/libonnxruntime.so in the archive onnxruntime-linux-x64-gpu-%s of its releases, with libonnxruntime_providers_*.so beside it (docs/providers.md)", version)
}
