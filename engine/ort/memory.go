package ort

/*
#include <malloc.h>
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"unsafe"

	"gnomon/engine/detect"
)

// alignment of tensor memory: a cache line, which is also the widest vector register.
const alignment = 64

// maxTensorBytes bounds one tensor: 1 GiB is sixteen times the largest input that makes sense (4096x4096 float32),
// and a wrong shape must not take the machine down.
const maxTensorBytes = 1 << 30

// elementSize is bytes per element.
func elementSize(t detect.ElementType) int {
	switch t {
	case detect.Float32, detect.Int32:
		return 4
	case detect.Float16:
		return 2
	case detect.Uint8, detect.Int8:
		return 1
	case detect.Int64:
		return 8
	}
	return 0
}

// count multiplies the dimensions, with an error for one that is unknown or a product beyond the limit.
func count(shape []int64, t detect.ElementType) (int, error) {
	size := elementSize(t)
	if size == 0 {
		return 0, fmt.Errorf("elements of type %s are not supported", t)
	}
	n := int64(1)
	for _, d := range shape {
		if d < 1 {
			return 0, fmt.Errorf("shape %v has a dimension that is not a positive number", shape)
		}
		if n > maxTensorBytes/int64(size)/d {
			return 0, fmt.Errorf("shape %v needs more than %d bytes", shape, maxTensorBytes)
		}
		n *= d
	}
	return int(n), nil
}

// alloc returns zeroed C memory: ONNX Runtime keeps its address for the life of the tensor, which Go memory must
// not allow. The session frees it with free.
func (r *Runtime) alloc(bytes int) ([]byte, error) {
	rounded := (bytes + alignment - 1) / alignment * alignment
	p := C.aligned_alloc(alignment, C.size_t(rounded))
	if p == nil {
		return nil, fmt.Errorf("out of memory: %d bytes for a tensor", bytes)
	}
	mem := unsafe.Slice((*byte)(p), bytes)
	clear(mem)
	r.live.Add(int64(bytes))
	return mem, nil
}

func (r *Runtime) free(mem []byte) {
	if mem == nil {
		return
	}
	r.live.Add(-int64(len(mem)))
	C.free(unsafe.Pointer(unsafe.SliceData(mem)))
}

// mmapThreshold is the size in bytes from which on malloc asks the system for each block and gives it back at once.
// glibc starts with this value and raises it, up to 32 MB, whenever such a block is freed; the weights of the next
// model then go into the heap, between small blocks that live longer, and the process grows with each exchange of
// models. Setting the value fixes it.
const mmapThreshold = 128 << 10

// tuneMalloc makes C memory of closed sessions go back to the system. It holds for the whole process.
func tuneMalloc() { C.mallopt(C.M_MMAP_THRESHOLD, mmapThreshold) }

// ReleaseMemory gives Go memory that nobody uses any more back to the system: it held the file of a model while that was
// loaded. It takes some milliseconds: call it after models have been exchanged, not for each frame. What C has is left
// to it: weights went back when their session was closed (see tuneMalloc), the small pieces serve the next model, and
// malloc_trim would hold malloc's locks for 30 to 60 ms, in which no frame that needs memory gets on.
func ReleaseMemory() { debug.FreeOSMemory() }

// floats views C memory as float32.
func floats(mem []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(mem))), len(mem)/4)
}

var errWidenType = errors.New("only float32, float16, int32 and int64 outputs can be read")

// widen converts src, elements of type t, to float32. Detectors that keep class indexes in an int64 output stay
// far below 2^24, where float32 is exact.
func widen(dst []float32, src []byte, t detect.ElementType) error {
	p := unsafe.Pointer(unsafe.SliceData(src))
	switch t {
	case detect.Float16:
		for i, h := range unsafe.Slice((*uint16)(p), len(src)/2) {
			dst[i] = float16to32(h)
		}
	case detect.Int32:
		for i, v := range unsafe.Slice((*int32)(p), len(src)/4) {
			dst[i] = float32(v)
		}
	case detect.Int64:
		for i, v := range unsafe.Slice((*int64)(p), len(src)/8) {
			dst[i] = float32(v)
		}
	default:
		return errWidenType
	}
	return nil
}

// float16to32 converts an IEEE 754 binary16, given by its bits.
func float16to32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0: // zero and subnormals: frac * 2^-24
		v := float32(frac) / (1 << 24)
		if sign != 0 {
			v = -v
		}
		return v
	case 31: // infinity and NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}
