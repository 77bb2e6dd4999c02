// What gnomon's table of targets calls the bare loop: the same ONNX Runtime and model with nothing around them. One
// session, whose weights all threads share; a tensor of grey for each thread; session.Run until the time is over.
//
//   bare LIBRARY MODEL LANES SECONDS
//
// LANES threads call Run at once, each run on one thread. Prints one JSON object when the session is there, and one more
// with frames, seconds and resident memory in MB (10^6 bytes) at the end; with SECONDS 0 only the first.
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "onnxruntime_c_api.h"

enum { max_dims = 8, max_lanes = 64 };

static const OrtApi *ort;

typedef struct {
  OrtSession *session;
  const char *in;
  const char *const *outs;
  size_t n_outs;
  OrtValue *input;
  double until;
  uint64_t frames;
} lane;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what, const char *why) {
  fprintf(stderr, "bare: %s: %s\n", what, why);
  exit(1);
}

static void must(OrtStatus *s, const char *what) {
  if (s) fail(what, ort->GetErrorMessage(s));
}

static void *loop(void *arg) {
  lane *l = arg;
  OrtValue **outs = calloc(l->n_outs, sizeof *outs);
  if (!outs) fail("run", "out of memory");
  while (now() < l->until) {
    must(ort->Run(l->session, NULL, &l->in, (const OrtValue *const *)&l->input, 1, l->outs, l->n_outs, outs), "run");
    for (size_t i = 0; i < l->n_outs; i++) {
      ort->ReleaseValue(outs[i]);
      outs[i] = NULL;
    }
    l->frames++;
  }
  free(outs);
  return NULL;
}

// grey makes a tensor for the model's input. A free first dimension is a batch of one; other free ones are refused.
static OrtValue *grey(OrtSession *s) {
  OrtTypeInfo *type;
  const OrtTensorTypeAndShapeInfo *info;
  enum ONNXTensorElementDataType element;
  size_t n, count = 1;
  int64_t dims[max_dims];
  must(ort->SessionGetInputTypeInfo(s, 0, &type), "read the input");
  must(ort->CastTypeInfoToTensorInfo(type, &info), "read the input");
  must(ort->GetTensorElementType(info, &element), "read the input");
  must(ort->GetDimensionsCount(info, &n), "read the input");
  if (element != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || n > max_dims) fail("read the input", "only float32 inputs are supported");
  must(ort->GetDimensions(info, dims, n), "read the input");
  if (n > 0 && dims[0] < 1) dims[0] = 1;
  for (size_t i = 0; i < n; i++) {
    if (dims[i] < 1 || dims[i] > INT32_MAX) fail("read the input", "a dimension other than the batch is free");
    count *= (size_t)dims[i];
  }
  float *data = malloc(count * sizeof *data);
  if (!data) fail("make the input", "out of memory");
  for (size_t i = 0; i < count; i++) data[i] = 0.5f;
  OrtMemoryInfo *mem;
  OrtValue *v = NULL;
  must(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &mem), "make the input");
  must(ort->CreateTensorWithDataAsOrtValue(mem, data, count * sizeof *data, dims, n, element, &v), "make the input");
  ort->ReleaseTypeInfo(type);
  return v;
}

static double resident(void) {
  long size, pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f) {
    if (fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0;
    fclose(f);
  }
  return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

int main(int argc, char **argv) {
  if (argc != 5) fail("usage", "bare LIBRARY MODEL LANES SECONDS");
  const int lanes = atoi(argv[3]);
  const double seconds = atof(argv[4]);
  if (lanes < 1 || lanes > max_lanes) fail("usage", "LANES is 1 to 64");
  // The runtime's official builds report to their maker otherwise; these are read while the library is loaded.
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  setenv("ORT_TELEMETRY_DISABLED", "1", 1);
  void *lib = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!lib) fail("load the library", dlerror());
  const OrtApiBase *(*base)(void) = (const OrtApiBase *(*)(void))dlsym(lib, "OrtGetApiBase");
  if (!base || !(ort = base()->GetApi(ORT_API_VERSION))) fail("load the library", "it does not speak this version of the interface");
  OrtEnv *env;
  OrtSessionOptions *so;
  OrtSession *session;
  OrtAllocator *alloc;
  must(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "bare", &env), "start");
  must(ort->CreateSessionOptions(&so), "start");
  must(ort->SetIntraOpNumThreads(so, 1), "start");
  const double begin = now();
  must(ort->CreateSession(env, argv[2], so, &session), "load the model");
  printf("{\"create_ms\": %.3f}\n", 1e3 * (now() - begin));
  fflush(stdout);
  if (seconds <= 0) return 0;

  size_t n_outs;
  char *in;
  must(ort->GetAllocatorWithDefaultOptions(&alloc), "read the model");
  must(ort->SessionGetInputName(session, 0, alloc, &in), "read the model");
  must(ort->SessionGetOutputCount(session, &n_outs), "read the model");
  char **outs = calloc(n_outs, sizeof *outs);
  if (!outs) fail("read the model", "out of memory");
  for (size_t i = 0; i < n_outs; i++) must(ort->SessionGetOutputName(session, i, alloc, &outs[i]), "read the model");
  lane l[max_lanes];
  pthread_t threads[max_lanes];
  const double start = now();
  for (int i = 0; i < lanes; i++) {
    l[i] = (lane){session, in, (const char *const *)outs, n_outs, grey(session), start + seconds, 0};
    if (pthread_create(&threads[i], NULL, loop, &l[i])) fail("start a thread", "the system refused");
  }
  uint64_t frames = 0;
  for (int i = 0; i < lanes; i++) {
    pthread_join(threads[i], NULL);
    frames += l[i].frames;
  }
  const double took = now() - start;
  printf("{\"frames\": %llu, \"seconds\": %.3f, \"fps\": %.3f, \"rss_mb\": %.3f}\n", (unsigned long long)frames, took, (double)frames / took, resident());
  return 0;
}
