/* Functions of the further libraries that return something other than a status: texts and versions. All others
 * of theirs are not written (unwritten.c). Named by hand, because headers of two CUDA versions differ in them. */
#include <cuda_runtime_api.h>
#include <cudnn_version.h>
#include <nccl.h>
#include <stdio.h>

#include "virtual_gpu.h"

#define TEXT_OF_STATUS(name)                                 \
    const char *vg_##name(int status) __asm__(#name);        \
    const char *vg_##name(int status) {                      \
        static __thread char text[64];                       \
        snprintf(text, sizeof text, "status %d", status);    \
        return text;                                         \
    }

TEXT_OF_STATUS(cublasLtGetStatusName)
TEXT_OF_STATUS(cublasLtGetStatusString)
TEXT_OF_STATUS(cusparseGetErrorName)
TEXT_OF_STATUS(cusparseGetErrorString)
TEXT_OF_STATUS(cusparseLtGetErrorName)
TEXT_OF_STATUS(cusparseLtGetErrorString)
TEXT_OF_STATUS(cudnnGetErrorString)

size_t cublasGetCudartVersion(void) { return CUDART_VERSION; }
size_t cudnnGetVersion(void) { return CUDNN_VERSION; }
size_t cudnnGetCudartVersion(void) { return CUDART_VERSION; }
void cudnnGetLastErrorString(char *text, size_t bytes) { snprintf(text, bytes, "not supported by the virtual GPU"); }

ncclResult_t ncclGetVersion(int *version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    return result == ncclSuccess ? "no error" : "not supported by the virtual GPU";
}

const char *ncclGetLastError(ncclComm_t communicator) { return (void)communicator, ""; }
