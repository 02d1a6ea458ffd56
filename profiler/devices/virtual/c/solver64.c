/* libcusolver: routines whose sizes have 64 bits and whose types are given at run time; their workspaces are in
 * bytes, on the device and on the host. Contract and assumptions: solver.c. */
#include <cusolverDn.h>

#include "virtual_gpu.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

#define COLUMNS_OF_A_BLOCK 64

static size_t element_bytes(cudaDataType type) {
    switch (type) {
    case CUDA_R_32F: return 4;
    case CUDA_R_64F:
    case CUDA_C_32F: return 8;
    case CUDA_C_64F: return 16;
    default: return 0;
    }
}

static cusolverStatus_t workspace(size_t *device, size_t *host, cudaDataType type, int64_t elements) {
    if (element_bytes(type) == 0) return CUSOLVER_STATUS_NOT_SUPPORTED;
    *device = element_bytes(type) * (size_t)elements;
    *host = 0;
    return CUSOLVER_STATUS_SUCCESS;
}

static cusolverStatus_t done(int *info, int64_t matrices) {
    return vg_no_errors(info, (size_t)matrices), CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t h, cusolverDnParams_t params, cublasFillMode_t uplo,
                                             int64_t n, cudaDataType type, const void *a, int64_t lda,
                                             cudaDataType compute, size_t *device, size_t *host) {
    return workspace(device, host, compute, n * COLUMNS_OF_A_BLOCK);
}

cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t h, cusolverDnParams_t params, cublasFillMode_t uplo, int64_t n,
                                  cudaDataType type, void *a, int64_t lda, cudaDataType compute, void *device,
                                  size_t device_bytes, void *host, size_t host_bytes, int *info) {
    return done(info, 1);
}

cusolverStatus_t cusolverDnXpotrs(cusolverDnHandle_t h, cusolverDnParams_t params, cublasFillMode_t uplo, int64_t n,
                                  int64_t right, cudaDataType type, const void *a, int64_t lda, cudaDataType type_b,
                                  void *b, int64_t ldb, int *info) {
    return done(info, 1);
}

cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t h, cusolverDnParams_t params, int64_t m, int64_t n,
                                             cudaDataType type, const void *a, int64_t lda, cudaDataType type_tau,
                                             const void *tau, cudaDataType compute, size_t *device, size_t *host) {
    return workspace(device, host, compute, n * COLUMNS_OF_A_BLOCK);
}

cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t h, cusolverDnParams_t params, int64_t m, int64_t n,
                                  cudaDataType type, void *a, int64_t lda, cudaDataType type_tau, void *tau,
                                  cudaDataType compute, void *device, size_t device_bytes, void *host,
                                  size_t host_bytes, int *info) {
    return done(info, 1);
}

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t h, cusolverDnParams_t params, cusolverEigMode_t job,
                                             cublasFillMode_t uplo, int64_t n, cudaDataType type, const void *a,
                                             int64_t lda, cudaDataType type_w, const void *w, cudaDataType compute,
                                             size_t *device, size_t *host) {
    return workspace(device, host, compute, 1 + 6 * n + 2 * n * n);
}

cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t h, cusolverDnParams_t params, cusolverEigMode_t job,
                                  cublasFillMode_t uplo, int64_t n, cudaDataType type, void *a, int64_t lda,
                                  cudaDataType type_w, void *w, cudaDataType compute, void *device,
                                  size_t device_bytes, void *host, size_t host_bytes, int *info) {
    return done(info, 1);
}

cusolverStatus_t cusolverDnXsyevBatched_bufferSize(cusolverDnHandle_t h, cusolverDnParams_t params,
                                                   cusolverEigMode_t job, cublasFillMode_t uplo, int64_t n,
                                                   cudaDataType type, const void *a, int64_t lda,
                                                   cudaDataType type_w, const void *w, cudaDataType compute,
                                                   size_t *device, size_t *host, int64_t batch) {
    return workspace(device, host, compute, n * n * batch);
}

cusolverStatus_t cusolverDnXsyevBatched(cusolverDnHandle_t h, cusolverDnParams_t params, cusolverEigMode_t job,
                                        cublasFillMode_t uplo, int64_t n, cudaDataType type, void *a, int64_t lda,
                                        cudaDataType type_w, void *w, cudaDataType compute, void *device,
                                        size_t device_bytes, void *host, size_t host_bytes, int *info,
                                        int64_t batch) {
    return done(info, batch);
}

cusolverStatus_t cusolverDnXgeev_bufferSize(cusolverDnHandle_t h, cusolverDnParams_t params,
                                            cusolverEigMode_t job_left, cusolverEigMode_t job_right, int64_t n,
                                            cudaDataType type, const void *a, int64_t lda, cudaDataType type_w,
                                            const void *w, cudaDataType type_left, const void *left, int64_t ld_left,
                                            cudaDataType type_right, const void *right, int64_t ld_right,
                                            cudaDataType compute, size_t *device, size_t *host) {
    return workspace(device, host, compute, 4 * n);
}

cusolverStatus_t cusolverDnXgeev(cusolverDnHandle_t h, cusolverDnParams_t params, cusolverEigMode_t job_left,
                                 cusolverEigMode_t job_right, int64_t n, cudaDataType type, void *a, int64_t lda,
                                 cudaDataType type_w, void *w, cudaDataType type_left, void *left, int64_t ld_left,
                                 cudaDataType type_right, void *right, int64_t ld_right, cudaDataType compute,
                                 void *device, size_t device_bytes, void *host, size_t host_bytes, int *info) {
    return done(info, 1);
}

cusolverStatus_t cusolverDnXsytrs_bufferSize(cusolverDnHandle_t h, cublasFillMode_t uplo, int64_t n, int64_t right,
                                             cudaDataType type, const void *a, int64_t lda, const int64_t *pivots,
                                             cudaDataType type_b, void *b, int64_t ldb, size_t *device,
                                             size_t *host) {
    return workspace(device, host, type, n);
}

cusolverStatus_t cusolverDnXsytrs(cusolverDnHandle_t h, cublasFillMode_t uplo, int64_t n, int64_t right,
                                  cudaDataType type, const void *a, int64_t lda, const int64_t *pivots,
                                  cudaDataType type_b, void *b, int64_t ldb, void *device, size_t device_bytes,
                                  void *host, size_t host_bytes, int *info) {
    return done(info, 1);
}
