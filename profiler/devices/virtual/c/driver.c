/* libcuda: the driver, as far as PyTorch and Triton ask it beside the runtime: device and context, virtual
 * memory management (expandable segments), modules and launches. Contracts: cuda.h. */
#define _GNU_SOURCE
#include <cuda.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "virtual_gpu.h"

/* Handles of the one context, of any module, and of any function in it. */
#define CONTEXT ((CUcontext)(uintptr_t)64)
#define MODULE ((CUmodule)(uintptr_t)128)
#define FUNCTION ((CUfunction)(uintptr_t)192)

static CUresult memory_error(vg_result result) {
    switch (result) {
    case VG_OK: return CUDA_SUCCESS;
    case VG_OUT_OF_MEMORY: return CUDA_ERROR_OUT_OF_MEMORY;
    case VG_HOST_REFUSED: return CUDA_ERROR_OPERATING_SYSTEM;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult CUDAAPI cuInit(unsigned flags) {
    (void)flags;
    return vg_gpu() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

CUresult CUDAAPI cuDriverGetVersion(int *version) {
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}

static const struct { CUresult error; const char *name, *text; } errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_OPERATING_SYSTEM, "CUDA_ERROR_OPERATING_SYSTEM",
     "OS call failed or operation not supported on this OS"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

CUresult CUDAAPI cuGetErrorString(CUresult error, const char **text) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error) return *text = errors[i].text, CUDA_SUCCESS;
    return *text = NULL, CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuGetErrorName(CUresult error, const char **name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error) return *name = errors[i].name, CUDA_SUCCESS;
    return *name = NULL, CUDA_ERROR_INVALID_VALUE;
}

/* A later version of a function carries its number in its name; the caller means the newest. */
void *vg_driver_function(const char *name) {
    static void *self;
    char versioned[256];
    if (self == NULL) {
        Dl_info found;
        if (dladdr((void *)vg_driver_function, &found)) self = dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    }
    if (self == NULL) return NULL;
    for (int version = 4; version > 1; version--) {
        snprintf(versioned, sizeof versioned, "%s_v%d", name, version);
        void *function = dlsym(self, versioned);
        if (function != NULL) return function;
    }
    return dlsym(self, name);
}

/* cuda.h renames it to the version that it declares; the older one lacks the last argument. */
CUresult CUDAAPI cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags,
                                  CUdriverProcAddressQueryResult *status) {
    (void)version, (void)flags;
    *function = vg_driver_function(name);
    if (status) *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* Tables of NVIDIA's own tools, without a contract: NVRTC looks for one, and compiles without it. */
CUresult CUDAAPI cuGetExportTable(const void **table, const CUuuid *id) {
    return (void)id, *table = NULL, CUDA_ERROR_NOT_FOUND;
}

/* Devices and contexts. */

CUresult CUDAAPI cuDeviceGetCount(int *devices) {
    *devices = vg_gpu() != NULL;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal) {
    *device = 0;
    return ordinal == 0 && vg_gpu() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult CUDAAPI cuDeviceGetName(char *name, int bytes, CUdevice device) {
    if (device != 0 || !vg_gpu()) return CUDA_ERROR_INVALID_DEVICE;
    snprintf(name, (size_t)bytes, "%s", vg_gpu()->name);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceTotalMem(size_t *bytes, CUdevice device) {
    if (device != 0 || !vg_gpu()) return CUDA_ERROR_INVALID_DEVICE;
    *bytes = vg_gpu()->memory_bytes;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    if (vg_attribute((int)attribute, value)) return CUDA_SUCCESS;
    return vg_unwritten_value("cuDeviceGetAttribute", (int)attribute, CUDA_ERROR_NOT_SUPPORTED);
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    *context = CONTEXT;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult CUDAAPI cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *is_active) {
    *flags = 0;
    *is_active = 1;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext *context) { return *context = CONTEXT, CUDA_SUCCESS; }
CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) { return (void)context, CUDA_SUCCESS; }
CUresult CUDAAPI cuCtxGetDevice(CUdevice *device) { return *device = 0, CUDA_SUCCESS; }
CUresult CUDAAPI cuCtxSynchronize(void) { return CUDA_SUCCESS; }

CUresult CUDAAPI cuMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    if (!vg_gpu()) return CUDA_ERROR_NO_DEVICE;
    vg_memory(free_bytes, total_bytes);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream stream) { return (void)stream, CUDA_SUCCESS; }

#if CUDA_VERSION >= 12090
/* The driver has nothing to log, so that the callback is never called. */
CUresult CUDAAPI cuLogsRegisterCallback(CUlogsCallback callback, void *data, CUlogsCallbackHandle *handle) {
    (void)callback, (void)data;
    if (handle) *handle = (CUlogsCallbackHandle)(uintptr_t)256;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLogsUnregisterCallback(CUlogsCallbackHandle handle) { return (void)handle, CUDA_SUCCESS; }
#endif

/* Virtual memory management. A handle is the address of its physical memory. */

CUresult CUDAAPI cuMemGetAllocationGranularity(size_t *bytes, const CUmemAllocationProp *properties,
                                               CUmemAllocationGranularity_flags option) {
    (void)properties, (void)option;
    *bytes = VG_GRANULARITY;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes,
                             const CUmemAllocationProp *properties, unsigned long long flags) {
    struct vg_physical *physical = NULL;
    (void)flags;
    if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return vg_unwritten("cuMemCreate (of host memory)", CUDA_ERROR_NOT_SUPPORTED);
    /* Memory may be made so that it could be exported; exporting it is what is not written. A fabric is there
     * on few cards, and the device's attributes say that this one has none. */
    if (properties->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return CUDA_ERROR_NOT_SUPPORTED;
    vg_result result = vg_physical_create(bytes, &physical);
    *handle = (CUmemGenericAllocationHandle)(uintptr_t)physical;
    return memory_error(result);
}

CUresult CUDAAPI cuMemRelease(CUmemGenericAllocationHandle handle) {
    return memory_error(vg_physical_release((struct vg_physical *)(uintptr_t)handle));
}

CUresult CUDAAPI cuMemAddressReserve(CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr wish,
                                     unsigned long long flags) {
    void *start = NULL;
    (void)wish, (void)flags; /* a wish, which the driver need not fulfil */
    vg_result result = vg_reserve(bytes, alignment, &start);
    *address = (CUdeviceptr)(uintptr_t)start;
    return memory_error(result);
}

CUresult CUDAAPI cuMemAddressFree(CUdeviceptr address, size_t bytes) {
    (void)bytes;
    return memory_error(vg_free((void *)(uintptr_t)address, VG_RESERVED));
}

CUresult CUDAAPI cuMemMap(CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                          unsigned long long flags) {
    (void)flags;
    if (offset != 0) return CUDA_ERROR_INVALID_VALUE; /* "must be zero" */
    return memory_error(vg_map((void *)(uintptr_t)address, bytes, (struct vg_physical *)(uintptr_t)handle));
}

CUresult CUDAAPI cuMemUnmap(CUdeviceptr address, size_t bytes) {
    return memory_error(vg_unmap((void *)(uintptr_t)address, bytes));
}

CUresult CUDAAPI cuMemSetAccess(CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access, size_t count) {
    (void)access, (void)count; /* mapped memory can be read and written by the one device there is */
    return vg_is_mapped((void *)(uintptr_t)address, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuMemGetAddressRange(CUdeviceptr *start, size_t *bytes, CUdeviceptr address) {
    vg_range range;
    if (!vg_find((void *)(uintptr_t)address, &range)) return CUDA_ERROR_NOT_FOUND;
    if (start) *start = (CUdeviceptr)(uintptr_t)range.start;
    if (bytes) *bytes = range.bytes;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    (void)stream;
    vg_fill((void *)(uintptr_t)to, &value, sizeof value, count);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    vg_range range;
    bool is_ours = vg_find((void *)(uintptr_t)address, &range) && range.kind != VG_RESERVED;
    bool is_on_host = range.kind == VG_PINNED || range.kind == VG_REGISTERED;
    if (!is_ours) return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)data = address; return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(CUmemorytype *)data = is_on_host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = CONTEXT; return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)data = 0; return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(unsigned *)data = range.kind == VG_MANAGED; return CUDA_SUCCESS;
    default:
        return vg_unwritten_value("cuPointerGetAttribute", (int)attribute, CUDA_ERROR_NOT_SUPPORTED);
    }
}

/* Modules: code is taken without being looked at, and its kernels do nothing. */

CUresult CUDAAPI cuModuleLoad(CUmodule *module, const char *file) {
    return (void)file, *module = MODULE, CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleLoadData(CUmodule *module, const void *image) {
    return (void)image, *module = MODULE, CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options,
                                    void **values) {
    (void)image, (void)count, (void)options, (void)values;
    return *module = MODULE, CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleUnload(CUmodule module) { return (void)module, CUDA_SUCCESS; }

CUresult CUDAAPI cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    return (void)module, (void)name, *function = FUNCTION, CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    const vg_profile *gpu = vg_gpu();
    (void)function;
    if (gpu == NULL) return CUDA_ERROR_NO_DEVICE;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = VG_THREADS_PER_BLOCK; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = VG_REGISTERS_PER_THREAD; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = gpu->shared_per_block_optin; break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: *value = gpu->binary_version; break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = 0; break; /* taken to use none */
    default: return vg_unwritten_value("cuFuncGetAttribute", (int)attribute, CUDA_ERROR_NOT_SUPPORTED);
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    const vg_profile *gpu = vg_gpu();
    (void)function;
    if (gpu == NULL) return CUDA_ERROR_NO_DEVICE;
    bool is_too_much = attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES &&
                       value > gpu->shared_per_block_optin;
    return is_too_much ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
    return (void)function, (void)config, CUDA_SUCCESS; /* "a preference" */
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads,
                                                             size_t shared_bytes) {
    (void)function;
    if (!vg_gpu()) return CUDA_ERROR_NO_DEVICE;
    *blocks = vg_blocks_per_multiprocessor(threads, shared_bytes);
    return CUDA_SUCCESS;
}

static CUresult launch(unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads, unsigned shared_bytes) {
    const vg_profile *gpu = vg_gpu();
    if (gpu == NULL) return CUDA_ERROR_NO_DEVICE;
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_x > INT32_MAX || grid_y > 65535 || grid_z > 65535 ||
        threads == 0 || threads > VG_THREADS_PER_BLOCK || shared_bytes > (unsigned)gpu->shared_per_block_optin)
        return CUDA_ERROR_INVALID_VALUE;
    return vg_launched(), CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                CUstream stream, void **arguments, void **extra) {
    (void)function, (void)stream, (void)arguments, (void)extra;
    return launch(grid_x, grid_y, grid_z, block_x * block_y * block_z, shared_bytes);
}

CUresult CUDAAPI cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **arguments,
                                  void **extra) {
    (void)function, (void)arguments, (void)extra;
    return launch(config->gridDimX, config->gridDimY, config->gridDimZ,
                  config->blockDimX * config->blockDimY * config->blockDimZ, config->sharedMemBytes);
}

CUresult CUDAAPI cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                           unsigned block_x, unsigned block_y, unsigned block_z,
                                           unsigned shared_bytes, CUstream stream, void **arguments) {
    return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
                          arguments, NULL);
}
