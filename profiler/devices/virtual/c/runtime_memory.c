/* libcudart: memory. Contracts: cuda_runtime_api.h. */
#include <stdint.h>
#include <string.h>

#include "runtime.h"

static cudaError_t allocate(void **pointer, size_t bytes, vg_kind kind) {
    *pointer = NULL;
    return bytes == 0 ? cudaSuccess : vg_memory_error(vg_allocate(bytes, kind, pointer));
}

cudaError_t cudaMalloc(void **pointer, size_t bytes) { return allocate(pointer, bytes, VG_DEVICE); }

cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return allocate(pointer, bytes, VG_MANAGED);
}

cudaError_t cudaFree(void *pointer) {
    if (pointer == NULL) return cudaSuccess;
    vg_result result = vg_free(pointer, VG_DEVICE);
    return vg_memory_error(result == VG_OK ? result : vg_free(pointer, VG_MANAGED));
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    (void)flags; /* portable, mapped, write-combined: all of them hold here */
    return allocate(pointer, bytes, VG_PINNED);
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes) { return allocate(pointer, bytes, VG_PINNED); }

cudaError_t cudaFreeHost(void *pointer) {
    return pointer == NULL ? cudaSuccess : vg_memory_error(vg_free(pointer, VG_PINNED));
}

cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return vg_memory_error(vg_register(pointer, bytes));
}

cudaError_t cudaHostUnregister(void *pointer) {
    return vg_free(pointer, VG_REGISTERED) == VG_OK ? cudaSuccess : vg_error(cudaErrorHostMemoryNotRegistered);
}

cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned flags) {
    vg_range range;
    (void)flags;
    if (!vg_find(host, &range) || (range.kind != VG_PINNED && range.kind != VG_REGISTERED))
        return vg_error(cudaErrorInvalidValue);
    *device = host;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    if (vg_gpu() == NULL) return vg_error(cudaErrorNoDevice);
    vg_memory(free_bytes, total_bytes);
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer) {
    static const enum cudaMemoryType types[] = {
        [VG_DEVICE] = cudaMemoryTypeDevice, [VG_MAPPED] = cudaMemoryTypeDevice,
        [VG_MANAGED] = cudaMemoryTypeManaged, [VG_PINNED] = cudaMemoryTypeHost,
        [VG_REGISTERED] = cudaMemoryTypeHost,
    };
    vg_range range;
    memset(attributes, 0, sizeof *attributes);
    attributes->type = cudaMemoryTypeUnregistered;
    if (vg_find(pointer, &range) && range.kind != VG_RESERVED) {
        attributes->type = types[range.kind];
        attributes->devicePointer = (void *)pointer;
        if (attributes->type != cudaMemoryTypeDevice) attributes->hostPointer = (void *)pointer;
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    (void)kind; /* addresses say what is whose */
    vg_copy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    (void)stream;
    return cudaMemcpy(to, from, bytes, kind);
}

cudaError_t cudaMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device, size_t bytes,
                                cudaStream_t stream) {
    (void)stream;
    if (to_device != 0 || from_device != 0) return vg_error(cudaErrorInvalidDevice);
    vg_copy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t stream) {
    (void)kind, (void)stream;
    vg_copy_2d(to, to_pitch, from, from_pitch, width, height);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *to, int value, size_t bytes) {
    unsigned char byte = (unsigned char)value;
    vg_fill(to, &byte, 1, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    (void)stream;
    return cudaMemset(to, value, bytes);
}

/* A hint, which changes where managed memory lies, and nothing that is accounted for. */
#if CUDART_VERSION >= 13000
cudaError_t cudaMemPrefetchAsync(const void *pointer, size_t bytes, struct cudaMemLocation where, unsigned flags,
                                 cudaStream_t stream) {
    (void)where, (void)flags;
#else
cudaError_t cudaMemPrefetchAsync(const void *pointer, size_t bytes, int where, cudaStream_t stream) {
    (void)where;
#endif
    vg_range range;
    (void)bytes, (void)stream;
    return vg_find(pointer, &range) && range.kind == VG_MANAGED ? cudaSuccess : vg_error(cudaErrorInvalidValue);
}
