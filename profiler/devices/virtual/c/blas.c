/* libcublas and libcublasLt: handles, and products that are accepted and do nothing.
 * Contracts: cublas_api.h, cublasLt.h. */
#include <cublasLt.h>
#include <cublas_v2.h>
#include <string.h>

#include "nothing.h"
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

#define OF_REAL(function) DOES_NOTHING(cublasS##function) DOES_NOTHING(cublasD##function)
#define OF_COMPLEX(function) DOES_NOTHING(cublasC##function) DOES_NOTHING(cublasZ##function)
OF_REAL_AND_COMPLEX(symv_v2)
OF_REAL_AND_COMPLEX(syr_v2)
OF_REAL_AND_COMPLEX(syr2_v2)
OF_REAL_AND_COMPLEX(rot_v2)
OF_REAL(rotm_v2)
DOES_NOTHING(cublasCsrot_v2)
DOES_NOTHING(cublasZdrot_v2)
DOES_NOTHING(cublasCsscal_v2)
DOES_NOTHING(cublasZdscal_v2)
OF_COMPLEX(hemm_v2)
OF_COMPLEX(hemv_v2)
OF_COMPLEX(her_v2)
OF_COMPLEX(her2_v2)
OF_COMPLEX(herk_v2)
OF_COMPLEX(her2k_v2)

/* Each matrix has a status on the device, and its rows need not be exchanged. */
#define FACTORS_LU(name)                                                                                     \
    int vg_##name(cublasHandle_t handle, int n, void *a, int lda, int *pivots, int *info, int batch)         \
        __asm__(#name);                                                                                      \
    int vg_##name(cublasHandle_t handle, int n, void *a, int lda, int *pivots, int *info, int batch) {       \
        (void)handle, (void)a, (void)lda;                                                                    \
        for (int i = 0; pivots != NULL && i < batch; i++)                                                    \
            vg_no_exchange(pivots + (size_t)i * (size_t)n, (size_t)n);                                       \
        return vg_no_errors(info, (size_t)batch), CUBLAS_STATUS_SUCCESS;                                     \
    }

FACTORS_LU(cublasSgetrfBatched)
FACTORS_LU(cublasDgetrfBatched)
FACTORS_LU(cublasCgetrfBatched)
FACTORS_LU(cublasZgetrfBatched)

#define INVERTS(name)                                                                                        \
    int vg_##name(cublasHandle_t handle, int n, void *a, int lda, void *pivots, void *c, int ldc, int *info, \
                  int batch) __asm__(#name);                                                                 \
    int vg_##name(cublasHandle_t handle, int n, void *a, int lda, void *pivots, void *c, int ldc, int *info, \
                  int batch) {                                                                               \
        (void)handle, (void)n, (void)a, (void)lda, (void)pivots, (void)c, (void)ldc;                         \
        return vg_no_errors(info, (size_t)batch), CUBLAS_STATUS_SUCCESS;                                     \
    }

INVERTS(cublasSgetriBatched)
INVERTS(cublasDgetriBatched)
INVERTS(cublasCgetriBatched)
INVERTS(cublasZgetriBatched)

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

/* Besides a number on the host that tells of wrong arguments, each matrix has a status on the device. */
#define LEAST_SQUARES(name)                                                                                  \
    int vg_##name(cublasHandle_t handle, int operation, int m, int n, int right_sides, void *a, int lda,     \
                  void *c, int ldc, int *wrong, int *info, int batch) __asm__(#name);                        \
    int vg_##name(cublasHandle_t handle, int operation, int m, int n, int right_sides, void *a, int lda,     \
                  void *c, int ldc, int *wrong, int *info, int batch) {                                      \
        (void)handle, (void)operation, (void)m, (void)n, (void)right_sides, (void)a, (void)lda;              \
        (void)c, (void)ldc;                                                                                  \
        *wrong = 0;                                                                                          \
        return vg_no_errors(info, (size_t)batch), CUBLAS_STATUS_SUCCESS;                                     \
    }

LEAST_SQUARES(cublasSgelsBatched)
LEAST_SQUARES(cublasDgelsBatched)
LEAST_SQUARES(cublasCgelsBatched)
LEAST_SQUARES(cublasZgelsBatched)

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

CREATES(cublasLtCreate, CUBLAS_STATUS_ALLOC_FAILED)
CREATES(cublasLtMatmulDescCreate, CUBLAS_STATUS_ALLOC_FAILED)
CREATES(cublasLtMatrixLayoutCreate, CUBLAS_STATUS_ALLOC_FAILED)
CREATES(cublasLtMatmulPreferenceCreate, CUBLAS_STATUS_ALLOC_FAILED)
DESTROYS(cublasLtDestroy)
DESTROYS(cublasLtMatmulDescDestroy)
DESTROYS(cublasLtMatrixLayoutDestroy)
DESTROYS(cublasLtMatmulPreferenceDestroy)
DOES_NOTHING(cublasLtMatmulDescSetAttribute)
DOES_NOTHING(cublasLtMatrixLayoutSetAttribute)
DOES_NOTHING(cublasLtMatmulPreferenceSetAttribute)
DOES_NOTHING(cublasLtMatmul)
CREATES(cublasLtMatrixTransformDescCreate, CUBLAS_STATUS_ALLOC_FAILED)
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
