/* Functions of the further libraries that return something other than a status: texts and versions. All others
 * of theirs are not written (unwritten.c). Named by hand, because headers of two CUDA versions differ in them. */
#include <cuda_runtime_api.h>
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
TEXT_OF_STATUS(cusparseLtGetErrorName)
TEXT_OF_STATUS(cusparseLtGetErrorString)

size_t cublasGetCudartVersion(void) { return CUDART_VERSION; }
