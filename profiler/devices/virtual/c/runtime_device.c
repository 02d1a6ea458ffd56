/* libcudart: devices, their properties, and errors. Contracts: cuda_runtime_api.h. */
#include <stdio.h>
#include <string.h>

#include "runtime.h"

static __thread cudaError_t last_error;

cudaError_t vg_error(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

cudaError_t vg_memory_error(vg_result result) {
    switch (result) {
    case VG_OK: return cudaSuccess;
    case VG_OUT_OF_MEMORY: return vg_error(cudaErrorMemoryAllocation);
    case VG_HOST_REFUSED: return vg_error(cudaErrorOperatingSystem);
    default: return vg_error(cudaErrorInvalidValue);
    }
}

cudaError_t cudaGetLastError(void) {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void) { return last_error; }

/* Texts and names as the real runtime has them, of what the stand-ins return. */
static const struct { cudaError_t error; const char *name, *text; } errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidSymbol, "cudaErrorInvalidSymbol", "invalid device symbol"},
    {cudaErrorOperatingSystem, "cudaErrorOperatingSystem", "OS call failed or operation not supported on this OS"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorPeerAccessUnsupported, "cudaErrorPeerAccessUnsupported",
     "peer access is not supported between these two devices"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
};

const char *cudaGetErrorString(cudaError_t error) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error) return errors[i].text;
    return "unrecognized error code";
}

const char *cudaGetErrorName(cudaError_t error) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error) return errors[i].name;
    return "unrecognized error code";
}

cudaError_t cudaGetDeviceCount(int *devices) {
    *devices = vg_gpu() != NULL;
    return *devices ? cudaSuccess : vg_error(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return vg_gpu() ? cudaSuccess : vg_error(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : vg_error(cudaErrorInvalidDevice); }

cudaError_t cudaDeviceSynchronize(void) { return cudaSuccess; } /* nothing is ever pending */

cudaError_t cudaDriverGetVersion(int *version) {
    *version = VG_DRIVER_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    if (device != 0) return vg_error(cudaErrorInvalidDevice);
    if (vg_attribute(attribute, value)) return cudaSuccess;
    return vg_error(vg_unwritten_value("cudaDeviceGetAttribute", attribute, cudaErrorNotSupported));
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    const vg_profile *gpu = vg_gpu();
    if (gpu == NULL || device != 0) return vg_error(cudaErrorInvalidDevice);
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "%s", gpu->name);
    properties->totalGlobalMem = gpu->memory_bytes;
    properties->sharedMemPerBlock = VG_SHARED_PER_BLOCK;
    properties->sharedMemPerBlockOptin = (size_t)gpu->shared_per_block_optin;
    properties->sharedMemPerMultiprocessor = (size_t)gpu->shared_per_multiprocessor;
    properties->reservedSharedMemPerBlock = VG_SHARED_RESERVED_PER_BLOCK;
    properties->regsPerBlock = properties->regsPerMultiprocessor = VG_REGISTERS_PER_MULTIPROCESSOR;
    properties->warpSize = VG_WARP;
    properties->maxThreadsPerBlock = VG_THREADS_PER_BLOCK;
    properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = VG_THREADS_PER_BLOCK;
    properties->maxThreadsDim[2] = 64;
    properties->maxGridSize[0] = 2147483647;
    properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
    properties->totalConstMem = VG_CONSTANT_BYTES;
    properties->major = gpu->major;
    properties->minor = gpu->minor;
    properties->textureAlignment = 512;
    properties->multiProcessorCount = gpu->multiprocessors;
    properties->maxThreadsPerMultiProcessor = gpu->threads_per_multiprocessor;
    properties->maxBlocksPerMultiProcessor = gpu->blocks_per_multiprocessor;
    properties->l2CacheSize = gpu->l2_bytes;
    properties->asyncEngineCount = 2;
    properties->unifiedAddressing = properties->managedMemory = properties->concurrentManagedAccess = 1;
    properties->concurrentKernels = properties->canMapHostMemory = properties->streamPrioritiesSupported = 1;
    properties->hostRegisterSupported = properties->canUseHostPointerForRegisteredMem = 1;
    properties->computePreemptionSupported = properties->cooperativeLaunch = 1;
    properties->clusterLaunch = gpu->major >= 9;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    if (least) *least = 0;
    if (greatest) *greatest = -5; /* as every GPU that torch supports has it */
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int bytes, int device) {
    if (device != 0) return vg_error(cudaErrorInvalidDevice);
    snprintf(text, (size_t)bytes, "0000:00:00.0");
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    *can = 0; /* it is the only one */
    return device == 0 && peer == 0 ? cudaSuccess : vg_error(cudaErrorInvalidDevice);
}

/* Profiling starts and stops nothing, which the contract allows where no profiler is attached. */
cudaError_t cudaProfilerStart(void) { return cudaSuccess; }
cudaError_t cudaProfilerStop(void) { return cudaSuccess; }
