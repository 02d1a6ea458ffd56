/* libcublas and libcublasLt: handles, and products that are accepted and do nothing.
 * Contracts: cublas_api.h, cublasLt.h. */
#include <cublasLt.h>
#include <cublas_v2.h>
#include <stdlib.h>
#include <string.h>

#include "virtual_gpu.h"

struct cublasContext { cublasPointerMode_t pointer_mode; cublasMath_t math_mode; cudaStream_t stream; };

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle) {
    *handle = calloc(1, sizeof **handle); /* host pointers, default math, default stream: as documented */
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t *stream) {
    *stream = handle->stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode) {
    handle->pointer_mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t *mode) {
    *mode = handle->pointer_mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
    handle->math_mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t *mode) {
    *mode = handle->math_mode;
    return CUBLAS_STATUS_SUCCESS;
}

/* The workspace is the caller's; torch takes it from its own allocator. */
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes) {
    return (void)handle, (void)workspace, (void)bytes, CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetSmCountTarget(cublasHandle_t handle, int count) {
    return (void)handle, (void)count, CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int *version) {
    (void)handle;
    *version = CUBLAS_VERSION;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusName(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "unknown status";
    }
}

const char *cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the requested functionality is not supported";
    default: return "unknown status";
    }
}

/* Functions that read and write device memory, or host memory that stays the caller's, and nothing else: what
 * they would compute is absent, and all they return is a status. They are defined under another C name,
 * because their arguments do not matter. */
#define DOES_NOTHING(name)                        \
    int vg_##name(void) __asm__(#name);           \
    int vg_##name(void) { return CUBLAS_STATUS_SUCCESS; }

#define OF_REAL_AND_COMPLEX(function)                                          \
    DOES_NOTHING(cublasS##function) DOES_NOTHING(cublasD##function)            \
    DOES_NOTHING(cublasC##function) DOES_NOTHING(cublasZ##function)

OF_REAL_AND_COMPLEX(gemm_v2)
OF_REAL_AND_COMPLEX(gemmBatched)
OF_REAL_AND_COMPLEX(gemmStridedBatched)
OF_REAL_AND_COMPLEX(gemv_v2)
OF_REAL_AND_COMPLEX(axpy_v2)
OF_REAL_AND_COMPLEX(scal_v2)
OF_REAL_AND_COMPLEX(copy_v2)
OF_REAL_AND_COMPLEX(swap_v2)
OF_REAL_AND_COMPLEX(symm_v2)
OF_REAL_AND_COMPLEX(syrk_v2)
OF_REAL_AND_COMPLEX(syr2k_v2)
OF_REAL_AND_COMPLEX(trmm_v2)
OF_REAL_AND_COMPLEX(trsm_v2)
OF_REAL_AND_COMPLEX(trsmBatched)
OF_REAL_AND_COMPLEX(trmv_v2)
OF_REAL_AND_COMPLEX(trsv_v2)
DOES_NOTHING(cublasSger_v2)
DOES_NOTHING(cublasDger_v2)
DOES_NOTHING(cublasCgeru_v2)
DOES_NOTHING(cublasCgerc_v2)
DOES_NOTHING(cublasZgeru_v2)
DOES_NOTHING(cublasZgerc_v2)
DOES_NOTHING(cublasSgemmEx)
DOES_NOTHING(cublasCgemmEx)
DOES_NOTHING(cublasGemmEx)
DOES_NOTHING(cublasGemmBatchedEx)
DOES_NOTHING(cublasGemmStridedBatchedEx)
DOES_NOTHING(cublasGemmGroupedBatchedEx)
/* The status of each matrix goes to device memory, too. */
OF_REAL_AND_COMPLEX(getrfBatched)
OF_REAL_AND_COMPLEX(getriBatched)

/* These say in a number on the host whether an argument was wrong; 0 is none. */
#define SOLVES(name)                                                                                           \
    int vg_##name(cublasHandle_t handle, int operation, int n, int right_sides, void *a, int lda, void *pivots, \
                  void *b, int ldb, int *info, int batch) __asm__(#name);                                      \
    int vg_##name(cublasHandle_t handle, int operation, int n, int right_sides, void *a, int lda, void *pivots, \
                  void *b, int ldb, int *info, int batch) {                                                    \
        (void)handle, (void)operation, (void)n, (void)right_sides, (void)a, (void)lda, (void)pivots;           \
        (void)b, (void)ldb, (void)batch;                                                                       \
        *info = 0;                                                                                             \
        return CUBLAS_STATUS_SUCCESS;                                                                          \
    }

SOLVES(cublasSgetrsBatched)
SOLVES(cublasDgetrsBatched)
SOLVES(cublasCgetrsBatched)
SOLVES(cublasZgetrsBatched)

#define FACTORS(name)                                                                                        \
    int vg_##name(cublasHandle_t handle, int m, int n, void *a, int lda, void *tau, int *info, int batch)    \
        __asm__(#name);                                                                                      \
    int vg_##name(cublasHandle_t handle, int m, int n, void *a, int lda, void *tau, int *info, int batch) {  \
        (void)handle, (void)m, (void)n, (void)a, (void)lda, (void)tau, (void)batch;                          \
        *info = 0;                                                                                           \
        return CUBLAS_STATUS_SUCCESS;                                                                        \
    }

FACTORS(cublasSgeqrfBatched)
FACTORS(cublasDgeqrfBatched)
FACTORS(cublasCgeqrfBatched)
FACTORS(cublasZgeqrfBatched)

/* Reductions write their result to the host where the pointer mode says so: a value that is absent. */
#define REDUCES(name)                                                                      \
    int vg_##name(cublasHandle_t handle) __asm__(#name);                                   \
    int vg_##name(cublasHandle_t handle) {                                                 \
        if (handle->pointer_mode == CUBLAS_POINTER_MODE_DEVICE) return CUBLAS_STATUS_SUCCESS; \
        return vg_unwritten(#name " (with its result on the host)", CUBLAS_STATUS_NOT_SUPPORTED); \
    }

REDUCES(cublasSdot_v2)
REDUCES(cublasDdot_v2)
REDUCES(cublasCdotu_v2)
REDUCES(cublasCdotc_v2)
REDUCES(cublasZdotu_v2)
REDUCES(cublasZdotc_v2)
REDUCES(cublasDotEx)
REDUCES(cublasSnrm2_v2)
REDUCES(cublasDnrm2_v2)
REDUCES(cublasScnrm2_v2)
REDUCES(cublasDznrm2_v2)
REDUCES(cublasSasum_v2)
REDUCES(cublasDasum_v2)

/* cublasLt. Descriptors are read by nobody, so that they hold nothing. */
size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion(void) { return CUDART_VERSION; }

static int create(void **handle) {
    *handle = calloc(1, 1);
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

#define CREATES(name)                               \
    int vg_##name(void **handle) __asm__(#name);    \
    int vg_##name(void **handle) { return create(handle); }
#define DESTROYS(name)                              \
    int vg_##name(void *handle) __asm__(#name);     \
    int vg_##name(void *handle) {                   \
        free(handle);                               \
        return CUBLAS_STATUS_SUCCESS;               \
    }

CREATES(cublasLtCreate)
CREATES(cublasLtMatmulDescCreate)
CREATES(cublasLtMatrixLayoutCreate)
CREATES(cublasLtMatmulPreferenceCreate)
DESTROYS(cublasLtDestroy)
DESTROYS(cublasLtMatmulDescDestroy)
DESTROYS(cublasLtMatrixLayoutDestroy)
DESTROYS(cublasLtMatmulPreferenceDestroy)
DOES_NOTHING(cublasLtMatmulDescSetAttribute)
DOES_NOTHING(cublasLtMatrixLayoutSetAttribute)
DOES_NOTHING(cublasLtMatmulPreferenceSetAttribute)
DOES_NOTHING(cublasLtMatmul)
CREATES(cublasLtMatrixTransformDescCreate)
DESTROYS(cublasLtMatrixTransformDescDestroy)
DOES_NOTHING(cublasLtMatrixTransformDescSetAttribute)
DOES_NOTHING(cublasLtMatrixTransform)

/* One algorithm, which needs no workspace. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *results, int *found) {
    (void)handle, (void)operation, (void)a, (void)b, (void)c, (void)d, (void)preference;
    if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
    memset(results, 0, sizeof *results);
    results->state = CUBLAS_STATUS_SUCCESS;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}
