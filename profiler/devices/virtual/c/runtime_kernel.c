/* libcudart: kernels, which are accepted and do nothing, and what nvcc's host code registers.
 * Contracts: cuda_runtime_api.h, and crt/host_runtime.h for the names with underscores. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

/* Variables of device code. Each gets memory when somebody asks for its address; the card's context holds it. */
typedef struct variable { const void *host; size_t bytes; void *device; struct variable *next; } variable;

static variable *variables;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void **__cudaRegisterFatBinary(void *binary) {
    static void *handle[4];
    (void)binary;
    return handle;
}

void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }
void __cudaUnregisterFatBinary(void **handle) { (void)handle; }
char __cudaInitModule(void **handle) { return (void)handle, 1; }

void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int thread_limit,
                            void *thread, void *block, void *block_dim, void *grid_dim, int *warp_size) {
    (void)handle, (void)host, (void)device, (void)name, (void)thread_limit, (void)thread, (void)block;
    (void)block_dim, (void)grid_dim, (void)warp_size;
}

void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int is_external, size_t bytes,
                       int is_constant, int is_global) {
    (void)handle, (void)device, (void)name, (void)is_external, (void)is_constant, (void)is_global;
    variable *made = malloc(sizeof *made);
    if (made == NULL) return; /* its address cannot be had later, which is an error then */
    pthread_mutex_lock(&lock);
    *made = (variable){host, bytes, NULL, variables};
    variables = made;
    pthread_mutex_unlock(&lock);
}

static void *address_of(const void *symbol, size_t *bytes) {
    void *address = NULL;
    pthread_mutex_lock(&lock);
    for (variable *known = variables; known != NULL; known = known->next) {
        if (known->host != symbol) continue;
        if (known->device == NULL) known->device = calloc(1, known->bytes);
        address = known->device;
        if (bytes) *bytes = known->bytes;
        break;
    }
    pthread_mutex_unlock(&lock);
    return address;
}

cudaError_t cudaGetSymbolAddress(void **pointer, const void *symbol) {
    *pointer = address_of(symbol, NULL);
    return *pointer ? cudaSuccess : vg_error(cudaErrorInvalidSymbol);
}

cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t bytes, size_t offset,
                               enum cudaMemcpyKind kind) {
    size_t size = 0;
    char *to = address_of(symbol, &size);
    (void)kind;
    if (to == NULL) return vg_error(cudaErrorInvalidSymbol);
    if (offset > size || bytes > size - offset) return vg_error(cudaErrorInvalidValue);
    vg_copy(to + offset, from, bytes);
    return cudaSuccess;
}

/* `kernel<<<grid, block, shared, stream>>>` pushes these, and the stub of the kernel pops them. */
static __thread struct { dim3 grid, block; size_t shared_bytes; void *stream; } configuration;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes, struct CUstream_st *stream) {
    configuration.grid = grid;
    configuration.block = block;
    configuration.shared_bytes = shared_bytes;
    configuration.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared_bytes, void *stream) {
    *grid = configuration.grid;
    *block = configuration.block;
    *shared_bytes = configuration.shared_bytes;
    *(void **)stream = configuration.stream;
    return cudaSuccess;
}

/* The limits that every launch is held to; torch relies on the error where a grid is empty or too large. */
static cudaError_t launch(dim3 grid, dim3 block, size_t shared_bytes) {
    const vg_profile *gpu = vg_gpu();
    size_t threads = (size_t)block.x * block.y * block.z;
    if (gpu == NULL) return vg_error(cudaErrorNoDevice);
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        threads == 0 || threads > VG_THREADS_PER_BLOCK || block.z > 64)
        return vg_error(cudaErrorInvalidConfiguration);
    if (shared_bytes > (size_t)gpu->shared_per_block_optin) return vg_error(cudaErrorInvalidValue);
    return vg_launched(), cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared_bytes,
                             cudaStream_t stream) {
    (void)function, (void)arguments, (void)stream;
    return launch(grid, block, shared_bytes);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared_bytes,
                               cudaStream_t stream) {
    return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
}

cudaError_t cudaLaunchCooperativeKernel(const void *function, dim3 grid, dim3 block, void **arguments,
                                        size_t shared_bytes, cudaStream_t stream) {
    return cudaLaunchKernel(function, grid, block, arguments, shared_bytes, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **arguments) {
    (void)function, (void)arguments;
    return launch(config->gridDim, config->blockDim, config->dynamicSmemBytes);
}

/* A kernel's handle is the address of its stub on the host. */
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function) {
    *kernel = (cudaKernel_t)function;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *function) {
    const vg_profile *gpu = vg_gpu();
    (void)function;
    if (gpu == NULL) return vg_error(cudaErrorNoDevice);
    memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = VG_THREADS_PER_BLOCK;
    attributes->numRegs = VG_REGISTERS_PER_THREAD;
    attributes->maxDynamicSharedSizeBytes = gpu->shared_per_block_optin;
    /* CUB refuses a version that torch has no code for. */
    attributes->binaryVersion = attributes->ptxVersion = gpu->binary_version;
    return cudaSuccess;
}

/* Attributes ask for shared memory or its share of the cache; both are within what a block can have. */
cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute, int value) {
    const vg_profile *gpu = vg_gpu();
    (void)function;
    if (gpu == NULL) return vg_error(cudaErrorNoDevice);
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value > gpu->shared_per_block_optin)
        return vg_error(cudaErrorInvalidValue);
    return cudaSuccess;
}

cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t kernel, enum cudaFuncAttribute attribute, int value,
                                            int device) {
    return device == 0 ? cudaFuncSetAttribute(kernel, attribute, value) : vg_error(cudaErrorInvalidDevice);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int threads,
                                                                   size_t shared_bytes, unsigned flags) {
    (void)function, (void)flags;
    if (vg_gpu() == NULL) return vg_error(cudaErrorNoDevice);
    *blocks = vg_blocks_per_multiprocessor(threads, shared_bytes);
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *function, int threads,
                                                          size_t shared_bytes) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, shared_bytes, 0);
}

/* Code that a library brings as data: kernels in it do nothing, like all others. */
cudaError_t cudaLibraryLoadData(cudaLibrary_t *library, const void *code, enum cudaJitOption *jit_options,
                                void **jit_values, unsigned jit_count, enum cudaLibraryOption *options,
                                void **values, unsigned count) {
    (void)jit_options, (void)jit_values, (void)jit_count, (void)options, (void)values, (void)count;
    *library = (cudaLibrary_t)code;
    return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *kernel, cudaLibrary_t library, const char *name) {
    (void)name;
    *kernel = (cudaKernel_t)library;
    return cudaSuccess;
}

cudaError_t cudaLibraryUnload(cudaLibrary_t library) { return (void)library, cudaSuccess; }

static cudaError_t entry_point(const char *name, void **function, enum cudaDriverEntryPointQueryResult *result) {
    *function = vg_driver_function(name);
    if (result) *result = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
                                             unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *result) {
    (void)version, (void)flags; /* the driver is exactly as new as the header */
    return entry_point(name, function, result);
}

#if CUDART_VERSION < 13000
cudaError_t cudaGetDriverEntryPoint(const char *name, void **function, unsigned long long flags,
                                    enum cudaDriverEntryPointQueryResult *result) {
    (void)flags;
    return entry_point(name, function, result);
}
#endif
