// libcuda.so.1 beside the stub: PyTorch opens it by this name and looks its functions up.
int cuCtxGetCurrent(void **context) { return *context = (void *)64, 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { return *flags = 0, *active = 1, 0; }
#define RETURNS_0(name)                                                                                                \
    long name() { return 0; }
RETURNS_0(cuCtxSetCurrent)
RETURNS_0(cuDeviceGet)
RETURNS_0(cuDeviceGetAttribute)
RETURNS_0(cuDevicePrimaryCtxRetain)
RETURNS_0(cuFuncGetAttribute)
RETURNS_0(cuFuncSetAttribute)
RETURNS_0(cuFuncSetCacheConfig)
RETURNS_0(cuGetErrorString)
RETURNS_0(cuLaunchCooperativeKernel)
RETURNS_0(cuLaunchKernel)
RETURNS_0(cuLinkAddData_v2)
RETURNS_0(cuLinkComplete)
RETURNS_0(cuLinkCreate_v2)
RETURNS_0(cuModuleGetFunction)
RETURNS_0(cuModuleLoad)
RETURNS_0(cuModuleLoadData)
RETURNS_0(cuModuleLoadDataEx)
RETURNS_0(cuModuleUnload)
RETURNS_0(cuOccupancyMaxActiveBlocksPerMultiprocessor)
RETURNS_0(cuPointerGetAttribute)
RETURNS_0(cuTensorMapEncodeTiled)
