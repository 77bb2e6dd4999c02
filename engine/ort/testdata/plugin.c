// An execution provider that takes no node, or fails where MODE says (NO_RUN takes all nodes, and fails to run them): what
// TestPlugins loads.
#include <signal.h>
#include <string.h>

#include "onnxruntime_c_api.h"

enum { WORKS, NO_FACTORY, NO_DEVICE, NO_PROVIDER, NO_RUN };
#ifndef MODE
#define MODE WORKS
#endif

static const OrtApi *ort;

static void handler(int sig) { (void)sig; }

static const char *provider_name(const OrtEp *e) { (void)e; return "TestProvider"; }
static OrtStatus *capability(OrtEp *e, const OrtGraph *g, OrtEpGraphSupportInfo *info) {
	(void)e;
	const OrtNode *nodes[16];
	size_t n = 0;
	if (MODE != NO_RUN) return NULL;
	OrtStatus *failed = ort->Graph_GetNumNodes(g, &n);
	if (!failed && (n == 0 || n > 16)) return NULL;
	if (!failed) failed = ort->Graph_GetNodes(g, nodes, n);
	OrtNodeFusionOptions options = {.ort_version_supported = ORT_API_VERSION};
	if (!failed) failed = ort->GetEpApi()->EpGraphSupportInfo_AddNodesToFuse(info, nodes, n, &options);
	return failed;
}

static OrtStatus *new_state(OrtNodeComputeInfo *i, OrtNodeComputeContext *c, void **state) { (void)c; *state = i; return NULL; }
static OrtStatus *compute(OrtNodeComputeInfo *i, void *state, OrtKernelContext *c) { (void)i; (void)state; (void)c; return ort->CreateStatus(ORT_FAIL, "no power"); }
static void release_state(OrtNodeComputeInfo *i, void *state) { (void)i; (void)state; }

static OrtStatus *compile(OrtEp *e, const OrtGraph **g, const OrtNode **f, size_t n, OrtNodeComputeInfo **infos, OrtNode **contexts) {
	(void)e; (void)g; (void)f; (void)contexts;
	static OrtNodeComputeInfo info = {.ort_version_supported = ORT_API_VERSION, .CreateState = new_state, .Compute = compute, .ReleaseState = release_state};
	for (size_t i = 0; i < n; i++) infos[i] = &info;
	return NULL;
}

static void release_compiled(OrtEp *e, OrtNodeComputeInfo **i, size_t n) { (void)e; (void)i; (void)n; }

static const char *factory_name(const OrtEpFactory *f) { (void)f; return "TestProvider"; }
static const char *vendor(const OrtEpFactory *f) { (void)f; return "test"; }
static uint32_t vendor_id(const OrtEpFactory *f) { (void)f; return 0xffff; }
static const char *version(const OrtEpFactory *f) { (void)f; return "1.0.0"; }
static bool stream_aware(const OrtEpFactory *f) { (void)f; return false; }

static OrtStatus *data_transfer(OrtEpFactory *f, OrtDataTransferImpl **t) { (void)f; *t = NULL; return NULL; }
static OrtStatus *allocator(OrtEpFactory *f, const OrtMemoryInfo *i, const OrtKeyValuePairs *o, OrtAllocator **a) { (void)f; (void)i; (void)o; *a = NULL; return NULL; }
static void release_allocator(OrtEpFactory *f, OrtAllocator *a) { (void)f; (void)a; }

static OrtStatus *devices(OrtEpFactory *f, const OrtHardwareDevice *const *hardware, size_t n, OrtEpDevice **out, size_t most, size_t *count) {
	*count = 0;
	for (size_t i = 0; MODE != NO_DEVICE && i < n && *count < most; i++) {
		if (ort->HardwareDevice_Type(hardware[i]) != OrtHardwareDeviceType_CPU) continue;
		OrtStatus *failed = ort->GetEpApi()->CreateEpDevice(f, hardware[i], NULL, NULL, &out[*count]);
		if (failed) return failed;
		++*count;
		break;
	}
	return NULL;
}

static OrtStatus *create(OrtEpFactory *f, const OrtHardwareDevice *const *h, const OrtKeyValuePairs *const *m, size_t n, const OrtSessionOptions *o, const OrtLogger *l, OrtEp **out) {
	(void)f; (void)h; (void)m; (void)n; (void)o; (void)l;
	if (MODE == NO_PROVIDER) return ort->CreateStatus(ORT_FAIL, "the accelerator is on fire");
	static OrtEp provider;
	memset(&provider, 0, sizeof provider);
	provider.ort_version_supported = ORT_API_VERSION;
	provider.GetName = provider_name;
	provider.GetCapability = capability;
	provider.Compile = compile;
	provider.ReleaseNodeComputeInfos = release_compiled;
	*out = &provider;
	return NULL;
}

static void release(OrtEpFactory *f, OrtEp *e) { (void)f; (void)e; }

OrtStatus *CreateEpFactories(const char *name, const OrtApiBase *base, const OrtLogger *l, OrtEpFactory **out, size_t most, size_t *n) {
	(void)name; (void)l; (void)most;
	struct sigaction bad = {.sa_handler = handler}; // without SA_ONSTACK, as CUDA does it
	sigaction(SIGTERM, &bad, NULL);
	ort = base->GetApi(ORT_API_VERSION);
	if (MODE == NO_FACTORY) return ort->CreateStatus(ORT_FAIL, "no licence for this machine");
	static OrtEpFactory factory;
	memset(&factory, 0, sizeof factory);
	factory.ort_version_supported = ORT_API_VERSION;
	factory.GetName = factory_name;
	factory.GetVendor = vendor;
	factory.GetVendorId = vendor_id;
	factory.GetVersion = version;
	factory.GetSupportedDevices = devices;
	factory.CreateEp = create;
	factory.ReleaseEp = release;
	factory.CreateDataTransfer = data_transfer;
	factory.CreateAllocator = allocator;
	factory.ReleaseAllocator = release_allocator;
	factory.IsStreamAware = stream_aware;
	out[0] = &factory;
	*n = 1;
	return NULL;
}

OrtStatus *ReleaseEpFactory(OrtEpFactory *f) { (void)f; return NULL; }
