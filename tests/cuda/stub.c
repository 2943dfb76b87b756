// A CUDA runtime without a GPU, for PyTorch's own host code: the memory of a device is memory of the host, copies are
// copies, kernels and the products of libraries are counted and compute nothing. What is not here returns 0 (success);
// tests/cuda/conftest.py makes those functions from symbols.txt.
//
// Environment: STUB_DEVICES (cards), STUB_CC (90: compute capability 9.0), STUB_GIB (memory of a card).

#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define API __attribute__((visibility("default")))
#define COUNT(what) __sync_fetch_and_add(&counts[what], 1)

enum { LAUNCHES, SYNCHRONISATIONS, TO_DEVICE, TO_HOST, ON_DEVICE, EVENT_WAITS, NUM_COUNTS };
static long counts[NUM_COUNTS];

API void stub_counts(long *out) { memcpy(out, counts, sizeof counts); }

static long setting(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}

// ---- devices

static __thread int current;

API cudaError_t cudaGetDeviceCount(int *count) { return *count = (int)setting("STUB_DEVICES", 1), cudaSuccess; }
API cudaError_t cudaGetDevice(int *device) { return *device = current, cudaSuccess; }
API cudaError_t cudaSetDevice(int device) { return current = device, cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int *version) { return *version = CUDART_VERSION, cudaSuccess; }
API cudaError_t cudaDriverGetVersion(int *version) { return *version = CUDART_VERSION, cudaSuccess; }
API const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "stub";
}
API const char *cudaGetErrorName(cudaError_t error) { return error ? "stubError" : "cudaSuccess"; }
API cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) { return *can = 1, cudaSuccess; }
API cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    return *least = 0, *greatest = -5, cudaSuccess;
}

API cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device) {
    snprintf(id, size, "0000:%02x:00.0", device + 1);
    return cudaSuccess;
}

API cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "Stub");
    p->major = setting("STUB_CC", 90) / 10, p->minor = setting("STUB_CC", 90) % 10;
    p->multiProcessorCount = 132, p->warpSize = 32, p->maxBlocksPerMultiProcessor = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
    p->maxThreadsPerMultiProcessor = 2048, p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->sharedMemPerBlock = 49152, p->sharedMemPerBlockOptin = 232448, p->sharedMemPerMultiprocessor = 233472;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536, p->totalConstMem = 65536, p->textureAlignment = 512;
    p->totalGlobalMem = (size_t)setting("STUB_GIB", 80) << 30, p->l2CacheSize = 50 << 20, p->memPitch = 2147483647;
    p->concurrentKernels = p->unifiedAddressing = p->managedMemory = p->cooperativeLaunch = 1;
    p->asyncEngineCount = 3, p->memoryBusWidth = 5120, p->pciBusID = device + 1;
    return cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    struct cudaDeviceProp p;
    cudaGetDeviceProperties(&p, device);
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[1]; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = p.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = p.sharedMemPerBlockOptin; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = p.regsPerBlock; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrUnifiedAddressing: *value = 1; break;
    default: *value = 0;
    }
    return cudaSuccess;
}

// ---- launches

typedef struct {
    dim3 grid, block;
    size_t shared;
    void *stream;
} Configuration;
static __thread Configuration pushed[16];
static __thread int num_pushed;

API void **__cudaRegisterFatBinary(void *binary) {
    static void *handle;
    return &handle;
}
API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
    pushed[num_pushed++] = (Configuration){grid, block, shared, stream};
    return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    Configuration *top = &pushed[--num_pushed];
    *grid = top->grid, *block = top->block, *shared = top->shared, *(void **)stream = top->stream;
    return cudaSuccess;
}
API cudaError_t cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t s, cudaStream_t t) {
    return COUNT(LAUNCHES), 0;
}
API cudaError_t __cudaLaunchKernel(cudaKernel_t f, dim3 g, dim3 b, void **a, size_t s, cudaStream_t t) {
    return COUNT(LAUNCHES), 0;
}
API cudaError_t cudaLaunchCooperativeKernel(const void *f, dim3 g, dim3 b, void **a, size_t s, cudaStream_t t) {
    return COUNT(LAUNCHES), 0;
}
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **a) { return COUNT(LAUNCHES), 0; }
API cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *f) { return *kernel = (cudaKernel_t)f, cudaSuccess; }
API cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
    memset(a, 0, sizeof *a);
    a->maxThreadsPerBlock = 1024, a->numRegs = 32, a->ptxVersion = a->binaryVersion = 90;
    a->maxDynamicSharedSizeBytes = 49152;
    return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *count, const void *f, int block, size_t shared) {
    return *count = block > 1024 ? 1 : block > 256 ? 2 : 8, cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, const void *f, int block,
                                                                       size_t shared, unsigned flags) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(count, f, block, shared);
}

// ---- memory

typedef struct Block {
    char *start;
    size_t size;
    int on_host, device;
    struct Block *next;
} Block;
static Block *blocks;
static size_t in_use;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static const size_t KEPT = 64 << 20; // larger copies are not made: nothing computes on them

static void *taken(size_t size, int on_host) {
    size = (size + 4096) & ~(size_t)4095;
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
    Block *block = malloc(sizeof *block);
    *block = (Block){start, size, on_host, current, NULL};
    pthread_mutex_lock(&guard);
    block->next = blocks, blocks = block;
    in_use += on_host ? 0 : size;
    pthread_mutex_unlock(&guard);
    return start;
}
static cudaError_t given_back(void *start) {
    pthread_mutex_lock(&guard);
    for (Block **at = &blocks; *at; at = &(*at)->next) {
        Block *block = *at;
        if (block->start != start) continue;
        *at = block->next;
        in_use -= block->on_host ? 0 : block->size;
        munmap(block->start, block->size);
        free(block);
        break;
    }
    pthread_mutex_unlock(&guard);
    return cudaSuccess;
}
API cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *pointer) {
    memset(a, 0, sizeof *a);
    a->type = cudaMemoryTypeUnregistered;
    pthread_mutex_lock(&guard);
    for (Block *block = blocks; block; block = block->next) {
        if ((char *)pointer < block->start || (char *)pointer >= block->start + block->size) continue;
        a->type = block->on_host ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
        a->device = block->device, a->devicePointer = (void *)pointer;
        a->hostPointer = block->on_host ? (void *)pointer : NULL;
        break;
    }
    pthread_mutex_unlock(&guard);
    return cudaSuccess;
}
API cudaError_t cudaMalloc(void **pointer, size_t size) {
    *pointer = in_use + size > (size_t)setting("STUB_GIB", 80) << 30 ? NULL : taken(size, 0);
    return *pointer ? cudaSuccess : cudaErrorMemoryAllocation;
}
API cudaError_t cudaHostAlloc(void **pointer, size_t size, unsigned flags) {
    return *pointer = taken(size, 1), cudaSuccess;
}
API cudaError_t cudaFree(void *pointer) { return given_back(pointer); }
API cudaError_t cudaFreeHost(void *pointer) { return given_back(pointer); }
API cudaError_t cudaGetSymbolAddress(void **pointer, const void *symbol) {
    return *pointer = taken(4096, 0), cudaSuccess;
}
API cudaError_t cudaMemGetInfo(size_t *unused, size_t *total) {
    *total = (size_t)setting("STUB_GIB", 80) << 30, *unused = *total - in_use;
    return cudaSuccess;
}
static void copy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    struct cudaPointerAttributes a, b;
    if (kind == cudaMemcpyDefault) {
        cudaPointerGetAttributes(&a, to), cudaPointerGetAttributes(&b, from);
        kind = a.type != cudaMemoryTypeDevice   ? cudaMemcpyDeviceToHost
               : b.type != cudaMemoryTypeDevice ? cudaMemcpyHostToDevice
                                                : cudaMemcpyDeviceToDevice;
    }
    COUNT(kind == cudaMemcpyHostToDevice ? TO_DEVICE : kind == cudaMemcpyDeviceToHost ? TO_HOST : ON_DEVICE);
    // Numbers that no kernel has computed: a few read by the host (a loss, a count) are 0 rather than anything.
    if (kind == cudaMemcpyDeviceToHost && size <= 32) memset(to, 0, size);
    else if (size <= KEPT)
        memcpy(to, from, size);
}
API cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    copy(to, from, size, kind);
    return COUNT(SYNCHRONISATIONS), cudaSuccess;
}
API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                                cudaStream_t stream) {
    return copy(to, from, size, kind), cudaSuccess;
}
API cudaError_t cudaMemsetAsync(void *pointer, int value, size_t size, cudaStream_t stream) {
    if (size <= KEPT) memset(pointer, value, size);
    return cudaSuccess;
}

// ---- streams and events

static long handles;
#define NEW_HANDLE(place) (*(place) = (void *)__sync_add_and_fetch(&handles, 16), cudaSuccess)

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) { return NEW_HANDLE(stream); }
API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
    return NEW_HANDLE(stream);
}
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) { return NEW_HANDLE(event); }
API cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
    return *status = cudaStreamCaptureStatusNone, 0;
}
API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                         cudaGraph_t *g, const cudaGraphNode_t **d, const cudaGraphEdgeData **e,
                                         size_t *n) {
    return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
API cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) { return *priority = 0, cudaSuccess; }
API cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return COUNT(SYNCHRONISATIONS), cudaSuccess; }
API cudaError_t cudaDeviceSynchronize(void) { return COUNT(SYNCHRONISATIONS), cudaSuccess; }
API cudaError_t cudaEventSynchronize(cudaEvent_t event) { return COUNT(EVENT_WAITS), cudaSuccess; }
API cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t a, cudaEvent_t b) {
    return *milliseconds = 1, cudaSuccess;
}
API cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device) { return NEW_HANDLE(pool); }
API cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr a, void *value) {
    return *(uint64_t *)value = 0, cudaSuccess;
}

// ---- driver

static long nothing(void) { return 0; }
API cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version, unsigned long long flags,
                                                 enum cudaDriverEntryPointQueryResult *result) {
    void *found = dlsym(RTLD_DEFAULT, name);
    *f = found ? found : (void *)nothing;
    if (result) *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}
API int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { return *flags = 0, *active = 1, 0; }
API int cuCtxGetCurrent(void **context) { return *context = (void *)64, 0; }
API int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }
API int cuGetErrorString(int error, const char **text) { return *text = "stub", 0; }

// ---- cuBLAS and cuDNN

API int cublasCreate_v2(void **handle) { return *handle = malloc(64), 0; }
API int cublasLtCreate(void **handle) { return *handle = malloc(64), 0; }
API int cudnnCreate(void **handle) { return *handle = malloc(64), 0; }
#define COUNTED(name)                                                                                                  \
    API int name() { return COUNT(LAUNCHES), 0; }
COUNTED(cublasSgemm_v2)
COUNTED(cublasDgemm_v2) COUNTED(cublasGemmEx) COUNTED(cublasSgemmEx) COUNTED(cublasLtMatmul)
    COUNTED(cublasSgemmStridedBatched) COUNTED(cublasGemmStridedBatchedEx) COUNTED(cublasSgemv_v2)
        COUNTED(cublasSdot_v2) COUNTED(cudnnBatchNormalizationBackwardEx)
            COUNTED(cudnnBatchNormalizationForwardInference) COUNTED(cudnnBatchNormalizationForwardTrainingEx) API
    int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void *a, int b, int c, void *d, void *e, void *f, void *g,
                                                          void *h, void *i, void *j, size_t *size) {
    return *size = 0, 0;
}
API int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void *a, int b, int c, void *d, void *e, void *f,
                                                                 void *g, void *h, size_t *size) {
    return *size = 0, 0;
}
API int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *a, int b, int c, void *d, void *e, size_t *size) {
    return *size = 0, 0;
}

// ---- NCCL: communicators exist, transfers do nothing

typedef struct {
    int size, rank;
    char rest[256];
} Communicator;
API int ncclGetUniqueId(char *id) { return memset(id, 7, 128), 0; }
typedef struct {
    char bytes[128];
} Id;
API int ncclCommInitRankConfig(void **c, int size, Id id, int rank, void *configuration) {
    Communicator *made = calloc(1, sizeof *made);
    made->size = size, made->rank = rank;
    return *c = made, 0;
}
API int ncclCommInitRank(void **c, int size, Id id, int rank) {
    return ncclCommInitRankConfig(c, size, id, rank, NULL);
}
API int ncclCommInitRankScalable(void **c, int size, int rank, int ids, void *all, void *configuration) {
    return ncclCommInitRankConfig(c, size, (Id){{0}}, rank, NULL);
}
API int ncclCommCount(void *c, int *size) { return *size = ((Communicator *)c)->size, 0; }
API int ncclCommUserRank(void *c, int *rank) { return *rank = ((Communicator *)c)->rank, 0; }
API int ncclCommGetAsyncError(void *c, int *error) { return *error = 0, 0; }
