/* libcufft: plans and their work areas; transforms are accepted and do nothing. Contracts: cufft.h, cufftXt.h.
 *
 * The work area of the real library depends on its kernels. Its documentation gives the bounds: "In the worst case,
 * the cuFFT Library allocates space for 8*batch*n[0]*..*n[rank-1] [complex] elements ... the temporary space
 * allocations can be as low as 1*batch*n[0]*..*n[rank-1]". Here it is taken to be the least. */
#include <cufftXt.h>
#include <pthread.h>
#include <stdlib.h>

#include "virtual_gpu.h"

#define MOST_PLANS 65536

typedef struct { bool is_auto, is_made; size_t work_bytes; void *work_area; } plan;

static plan *plans[MOST_PLANS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static plan *plan_of(cufftHandle handle) {
    return handle > 0 && handle < MOST_PLANS ? plans[handle] : NULL; /* 0 is no plan */
}

cufftResult cufftCreate(cufftHandle *handle) {
    cufftResult result = CUFFT_ALLOC_FAILED;
    pthread_mutex_lock(&lock);
    for (int i = 1; i < MOST_PLANS && result != CUFFT_SUCCESS; i++) {
        if (plans[i] != NULL) continue;
        plans[i] = calloc(1, sizeof(plan));
        if (plans[i] == NULL) break;
        plans[i]->is_auto = true; /* "cuFFT default behavior is to allocate the work area at plan generation time" */
        *handle = i;
        result = CUFFT_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

cufftResult cufftDestroy(cufftHandle handle) {
    plan *known = plan_of(handle);
    if (known == NULL) return CUFFT_INVALID_PLAN;
    if (known->work_area != NULL) vg_free(known->work_area, VG_DEVICE);
    free(known);
    plans[handle] = NULL;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetAutoAllocation(cufftHandle handle, int is_auto) {
    if (plan_of(handle) == NULL) return CUFFT_INVALID_PLAN;
    plan_of(handle)->is_auto = is_auto;
    return CUFFT_SUCCESS;
}

/* 0 of a type that transforms do not have. */
static size_t complex_bytes(cudaDataType type) {
    switch (type) {
    case CUDA_R_16F:
    case CUDA_C_16F:
    case CUDA_R_16BF:
    case CUDA_C_16BF: return 4;
    case CUDA_R_32F:
    case CUDA_C_32F: return 8;
    case CUDA_R_64F:
    case CUDA_C_64F: return 16;
    default: return 0;
    }
}

cufftResult cufftXtMakePlanMany(cufftHandle handle, int rank, long long *lengths, long long *input_embed,
                                long long input_stride, long long input_distance, cudaDataType input_type,
                                long long *output_embed, long long output_stride, long long output_distance,
                                cudaDataType output_type, long long batch, size_t *work_bytes,
                                cudaDataType execution_type) {
    plan *known = plan_of(handle);
    (void)input_embed, (void)input_stride, (void)input_distance, (void)input_type;
    (void)output_embed, (void)output_stride, (void)output_distance, (void)output_type;
    if (known == NULL || known->is_made) return CUFFT_INVALID_PLAN;
    size_t bytes = complex_bytes(execution_type);
    if (bytes == 0) return CUFFT_INVALID_TYPE;
    if (rank < 1 || rank > 3 || batch < 1) return CUFFT_INVALID_SIZE;
    bytes *= (size_t)batch;
    for (int i = 0; i < rank; i++) {
        if (lengths[i] < 1) return CUFFT_INVALID_SIZE;
        bytes *= (size_t)lengths[i];
    }
    if (known->is_auto && vg_allocate(bytes, VG_DEVICE, &known->work_area) != VG_OK) return CUFFT_ALLOC_FAILED;
    known->is_made = true;
    known->work_bytes = bytes;
    *work_bytes = bytes;
    return CUFFT_SUCCESS;
}

cufftResult cufftGetSize(cufftHandle handle, size_t *work_bytes) {
    if (plan_of(handle) == NULL || !plan_of(handle)->is_made) return CUFFT_INVALID_PLAN;
    *work_bytes = plan_of(handle)->work_bytes;
    return CUFFT_SUCCESS;
}

/* "Overrides the work area pointer": the one that the library allocated goes back. */
cufftResult cufftSetWorkArea(cufftHandle handle, void *work_area) {
    plan *known = plan_of(handle);
    (void)work_area;
    if (known == NULL) return CUFFT_INVALID_PLAN;
    if (known->work_area != NULL) vg_free(known->work_area, VG_DEVICE);
    known->work_area = NULL;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetStream(cufftHandle handle, cudaStream_t stream) {
    return (void)stream, plan_of(handle) ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}

cufftResult cufftXtExec(cufftHandle handle, void *input, void *output, int direction) {
    (void)input, (void)output, (void)direction;
    return plan_of(handle) && plan_of(handle)->is_made ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}
