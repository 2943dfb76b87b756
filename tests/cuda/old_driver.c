// A machine with four cards behind the driver of CUDA 12.4, which is too old for CUDA 13. Built twice: as libcuda.so.1,
// which says its version, and as libnvidia-ml.so.1, by which cards are counted whatever the driver is.
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 12040, 0; }
int cuDeviceGetCount(int *count) { return *count = 4, 0; }
int nvmlInit(void) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount(unsigned *count) { return *count = 4, 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { return *count = 4, 0; }
