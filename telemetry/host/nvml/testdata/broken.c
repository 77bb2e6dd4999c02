// NVIDIA's library without its driver: NVML_ERROR_DRIVER_NOT_LOADED.
int nvmlInit_v2(void) { return 9; }
int nvmlShutdown(void) { return 1; }
int nvmlDeviceGetCount_v2(unsigned *n) { return 1; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { return 1; }
