/* libcusparse: products and triangular solves with sparse matrices, which are accepted and do nothing.
 * Contract: cusparse.h.
 *
 * Buffers are taken to be 0 bytes: the real library does not say what they hold. A function whose result decides
 * a size (products and sums of two sparse matrices, sorting) is not written. */
#include <cusparse.h>

#include "nothing.h"
#include "virtual_gpu.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

struct cusparseContext { cusparsePointerMode_t pointer_mode; cudaStream_t stream; };

cusparseStatus_t cusparseCreate(cusparseHandle_t *handle) {
    *handle = calloc(1, sizeof **handle); /* scalars are on the host, as documented */
    return *handle ? CUSPARSE_STATUS_SUCCESS : CUSPARSE_STATUS_ALLOC_FAILED;
}

cusparseStatus_t cusparseDestroy(cusparseHandle_t handle) { return free(handle), CUSPARSE_STATUS_SUCCESS; }

cusparseStatus_t cusparseSetStream(cusparseHandle_t handle, cudaStream_t stream) {
    return handle->stream = stream, CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseGetStream(cusparseHandle_t handle, cudaStream_t *stream) {
    return *stream = handle->stream, CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseSetPointerMode(cusparseHandle_t handle, cusparsePointerMode_t mode) {
    return handle->pointer_mode = mode, CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseGetPointerMode(cusparseHandle_t handle, cusparsePointerMode_t *mode) {
    return *mode = handle->pointer_mode, CUSPARSE_STATUS_SUCCESS;
}

const char *cusparseGetErrorName(cusparseStatus_t status) {
    return status == CUSPARSE_STATUS_SUCCESS ? "CUSPARSE_STATUS_SUCCESS" : "CUSPARSE_STATUS_NOT_SUPPORTED";
}

const char *cusparseGetErrorString(cusparseStatus_t status) {
    return status == CUSPARSE_STATUS_SUCCESS ? "success" : "operation not supported by the virtual GPU";
}

CREATES(cusparseCreateCsr, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateCoo, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateConstCsr, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateConstCoo, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateDnMat, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateConstDnMat, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateDnVec, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateConstDnVec, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseCreateMatDescr, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseSpSV_createDescr, CUSPARSE_STATUS_ALLOC_FAILED)
CREATES(cusparseSpSM_createDescr, CUSPARSE_STATUS_ALLOC_FAILED)
DESTROYS(cusparseDestroySpMat)
DESTROYS(cusparseDestroyDnMat)
DESTROYS(cusparseDestroyDnVec)
DESTROYS(cusparseDestroyMatDescr)
DESTROYS(cusparseSpSV_destroyDescr)
DESTROYS(cusparseSpSM_destroyDescr)
DOES_NOTHING(cusparseSetMatType)
DOES_NOTHING(cusparseSetMatFillMode)
DOES_NOTHING(cusparseSetMatDiagType)
DOES_NOTHING(cusparseSetMatIndexBase)
DOES_NOTHING(cusparseSpMatSetAttribute)
DOES_NOTHING(cusparseCsrSetPointers)
DOES_NOTHING(cusparseCsrSetStridedBatch)
DOES_NOTHING(cusparseDnMatSetStridedBatch)
DOES_NOTHING(cusparseSpMV)
DOES_NOTHING(cusparseSpMM)
DOES_NOTHING(cusparseSDDMM_preprocess)
DOES_NOTHING(cusparseSDDMM)
DOES_NOTHING(cusparseSpSV_analysis)
DOES_NOTHING(cusparseSpSV_solve)
DOES_NOTHING(cusparseSpSM_analysis)
DOES_NOTHING(cusparseSpSM_solve)

cusparseStatus_t cusparseSpMV_bufferSize(cusparseHandle_t handle, cusparseOperation_t operation, const void *alpha,
                                         cusparseConstSpMatDescr_t a, cusparseConstDnVecDescr_t x, const void *beta,
                                         cusparseDnVecDescr_t y, cudaDataType type, cusparseSpMVAlg_t algorithm,
                                         size_t *bytes) {
    return *bytes = 0, CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseSpMM_bufferSize(cusparseHandle_t handle, cusparseOperation_t of_a, cusparseOperation_t of_b,
                                         const void *alpha, cusparseConstSpMatDescr_t a, cusparseConstDnMatDescr_t b,
                                         const void *beta, cusparseDnMatDescr_t c, cudaDataType type,
                                         cusparseSpMMAlg_t algorithm, size_t *bytes) {
    return *bytes = 0, CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseSDDMM_bufferSize(cusparseHandle_t handle, cusparseOperation_t of_a, cusparseOperation_t of_b,
                                          const void *alpha, cusparseConstDnMatDescr_t a, cusparseConstDnMatDescr_t b,
                                          const void *beta, cusparseSpMatDescr_t c, cudaDataType type,
                                          cusparseSDDMMAlg_t algorithm, size_t *bytes) {
    return *bytes = 0, CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseSpSV_bufferSize(cusparseHandle_t handle, cusparseOperation_t operation, const void *alpha,
                                         cusparseConstSpMatDescr_t a, cusparseConstDnVecDescr_t x,
                                         cusparseDnVecDescr_t y, cudaDataType type, cusparseSpSVAlg_t algorithm,
                                         cusparseSpSVDescr_t description, size_t *bytes) {
    return *bytes = 0, CUSPARSE_STATUS_SUCCESS;
}

cusparseStatus_t cusparseSpSM_bufferSize(cusparseHandle_t handle, cusparseOperation_t of_a, cusparseOperation_t of_b,
                                         const void *alpha, cusparseConstSpMatDescr_t a, cusparseConstDnMatDescr_t b,
                                         cusparseDnMatDescr_t c, cudaDataType type, cusparseSpSMAlg_t algorithm,
                                         cusparseSpSMDescr_t description, size_t *bytes) {
    return *bytes = 0, CUSPARSE_STATUS_SUCCESS;
}

/* Row numbers, in order, become the places where the rows start: integers, which compute for real. */
cusparseStatus_t cusparseXcoo2csr(cusparseHandle_t handle, const int *row_of, int elements, int rows, int *starts,
                                  cusparseIndexBase_t base) {
    int element = 0;
    for (int row = 0; row <= rows; row++) {
        while (element < elements && row_of[element] - (int)base < row) element++;
        starts[row] = element + (int)base;
    }
    return CUSPARSE_STATUS_SUCCESS;
}
