/* What the GPU is: read from SIZEUP_VIRTUAL_GPU, one `name=value` a line (profile.py writes it). */
#include "virtual_gpu.h"

#include <driver_types.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static vg_profile profile;
static bool is_there;

static void read_profile(void) {
    const char *text = getenv("SIZEUP_VIRTUAL_GPU");
    if (text == NULL) return;
    char *lines = strdup(text), *rest = lines, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *value = strchr(line, '=');
        if (value == NULL) continue;
        *value++ = '\0';
        long long number = atoll(value);
        if (!strcmp(line, "name")) snprintf(profile.name, sizeof profile.name, "%s", value);
        else if (!strcmp(line, "major")) profile.major = (int)number;
        else if (!strcmp(line, "minor")) profile.minor = (int)number;
        else if (!strcmp(line, "binary_version")) profile.binary_version = (int)number;
        else if (!strcmp(line, "multiprocessors")) profile.multiprocessors = (int)number;
        else if (!strcmp(line, "memory_bytes")) profile.memory_bytes = (size_t)number;
        else if (!strcmp(line, "context_bytes")) profile.context_bytes = (size_t)number;
        else if (!strcmp(line, "threads_per_multiprocessor")) profile.threads_per_multiprocessor = (int)number;
        else if (!strcmp(line, "blocks_per_multiprocessor")) profile.blocks_per_multiprocessor = (int)number;
        else if (!strcmp(line, "shared_per_multiprocessor")) profile.shared_per_multiprocessor = (int)number;
        else if (!strcmp(line, "shared_per_block_optin")) profile.shared_per_block_optin = (int)number;
        else if (!strcmp(line, "l2_bytes")) profile.l2_bytes = (int)number;
        else if (!strcmp(line, "clock_khz")) profile.clock_khz = (int)number;
        else if (!strcmp(line, "memory_clock_khz")) profile.memory_clock_khz = (int)number;
    }
    free(lines);
    is_there = profile.memory_bytes > profile.context_bytes && profile.major > 0;
}

const vg_profile *vg_gpu(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_profile);
    return is_there ? &profile : NULL;
}

/* The driver's CU_DEVICE_ATTRIBUTE_* have the same numbers. */
bool vg_attribute(int attribute, int *value) {
    const vg_profile *gpu = vg_gpu();
    if (gpu == NULL) return false;
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = gpu->major; return true;
    case cudaDevAttrComputeCapabilityMinor: *value = gpu->minor; return true;
    case cudaDevAttrMultiProcessorCount: *value = gpu->multiprocessors; return true;
    case cudaDevAttrL2CacheSize: *value = gpu->l2_bytes; return true;
    case cudaDevAttrClockRate: *value = gpu->clock_khz; return true;
    case cudaDevAttrMemoryClockRate: *value = gpu->memory_clock_khz; return true;
    case cudaDevAttrGlobalMemoryBusWidth: *value = VG_MEMORY_BUS_BITS; return true;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = gpu->threads_per_multiprocessor; return true;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = gpu->blocks_per_multiprocessor; return true;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = gpu->shared_per_multiprocessor; return true;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = gpu->shared_per_block_optin; return true;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = VG_SHARED_PER_BLOCK; return true;
    case cudaDevAttrReservedSharedMemoryPerBlock: *value = VG_SHARED_RESERVED_PER_BLOCK; return true;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = VG_REGISTERS_PER_MULTIPROCESSOR; return true;
    case cudaDevAttrTotalConstantMemory: *value = VG_CONSTANT_BYTES; return true;
    case cudaDevAttrWarpSize: *value = VG_WARP; return true;
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY: *value = VG_THREADS_PER_BLOCK; return true;
    case cudaDevAttrMaxBlockDimZ: *value = 64; return true;
    case cudaDevAttrMaxGridDimX: *value = 2147483647; return true;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = 65535; return true;
    case cudaDevAttrTextureAlignment: *value = 512; return true;
    /* Capabilities that the stand-ins have. */
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrGpuOverlap:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
    case cudaDevAttrComputePreemptionSupported:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrCooperativeLaunch: *value = 1; return true;
    case 102: /* CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, which the runtime does not name */
        *value = 1; return true;
    case cudaDevAttrAsyncEngineCount: *value = 2; return true;
    case cudaDevAttrClusterLaunch: *value = gpu->major >= 9; return true;
    /* And those that they do not have: pools, sharing between processes and devices, graphics, NUMA. */
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrMemoryPoolSupportedHandleTypes:
    case cudaDevAttrIpcEventSupport:
    case cudaDevAttrGPUDirectRDMASupported:
    case 103: /* CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED */
    case 110: /* ..._GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED */
    case 124: /* ..._DMA_BUF_SUPPORTED */
    case 128: /* ..._HANDLE_TYPE_FABRIC_SUPPORTED */
    case 132: /* ..._MULTICAST_SUPPORTED */
    case cudaDevAttrPageableMemoryAccess:
    case cudaDevAttrPageableMemoryAccessUsesHostPageTables:
    case cudaDevAttrDirectManagedMemAccessFromHost:
    case cudaDevAttrHostNativeAtomicSupported:
    case cudaDevAttrIntegrated:
    case cudaDevAttrIsMultiGpuBoard:
    case cudaDevAttrKernelExecTimeout:
    case cudaDevAttrTccDriver:
    case cudaDevAttrComputeMode: /* 0 is cudaComputeModeDefault */
    case cudaDevAttrPciBusId:
    case cudaDevAttrPciDeviceId:
    case cudaDevAttrPciDomainId: *value = 0; return true;
    default: return false;
    }
}

/* CUDA C++ Programming Guide, "Occupancy Calculator": the scarcest of block slots, threads, shared memory and
 * registers decides; registers are what every kernel is taken to need. */
int vg_blocks_per_multiprocessor(int threads, size_t shared_bytes) {
    const vg_profile *gpu = vg_gpu();
    if (threads <= 0) threads = VG_WARP;
    threads = (threads + VG_WARP - 1) / VG_WARP * VG_WARP;
    int blocks = gpu->blocks_per_multiprocessor;
    int by_threads = gpu->threads_per_multiprocessor / threads;
    int by_registers = VG_REGISTERS_PER_MULTIPROCESSOR / VG_REGISTERS_PER_THREAD / threads;
    int by_shared = (int)((size_t)gpu->shared_per_multiprocessor / (shared_bytes + VG_SHARED_RESERVED_PER_BLOCK));
    if (by_threads < blocks) blocks = by_threads;
    if (by_registers < blocks) blocks = by_registers;
    if (by_shared < blocks) blocks = by_shared;
    return blocks;
}
