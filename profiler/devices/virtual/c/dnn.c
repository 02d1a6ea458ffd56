/* libcudnn: handles, descriptors, and layers that are functions of their own. Contracts: cudnn_ops.h, cudnn_graph.h.
 *
 * Batch normalisation is taken to need no workspace, and to reserve nothing between forward and backward, as it
 * does without fused activations. Recurrent layers and CTC loss are not written: what they reserve is not known. */
#include <cudnn.h>
#include <stdio.h>

#include "nothing.h"
#include "virtual_gpu.h"

struct cudnnContext { cudaStream_t stream; };

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    *handle = calloc(1, sizeof **handle);
    return *handle ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_ALLOC_FAILED;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return free(handle), CUDNN_STATUS_SUCCESS; }

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    return handle->stream = stream, CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream) {
    return *stream = handle->stream, CUDNN_STATUS_SUCCESS;
}

size_t cudnnGetVersion(void) { return CUDNN_VERSION; }
size_t cudnnGetCudartVersion(void) { return CUDART_VERSION; }

cudnnStatus_t cudnnGetProperty(libraryPropertyType type, int *value) {
    switch (type) {
    case MAJOR_VERSION: *value = CUDNN_MAJOR; return CUDNN_STATUS_SUCCESS;
    case MINOR_VERSION: *value = CUDNN_MINOR; return CUDNN_STATUS_SUCCESS;
    case PATCH_LEVEL: *value = CUDNN_PATCHLEVEL; return CUDNN_STATUS_SUCCESS;
    default: return CUDNN_STATUS_INVALID_VALUE;
    }
}

const char *cudnnGetErrorString(cudnnStatus_t status) {
    static __thread char text[64];
    if (status == CUDNN_STATUS_SUCCESS) return "CUDNN_STATUS_SUCCESS";
    if (status == CUDNN_STATUS_NOT_SUPPORTED) return "CUDNN_STATUS_NOT_SUPPORTED";
    snprintf(text, sizeof text, "status %d", (int)status);
    return text;
}

void cudnnGetLastErrorString(char *text, size_t bytes) { snprintf(text, bytes, "not supported by the virtual GPU"); }

CREATES(cudnnCreateTensorDescriptor, CUDNN_STATUS_ALLOC_FAILED)
CREATES(cudnnCreateActivationDescriptor, CUDNN_STATUS_ALLOC_FAILED)
CREATES(cudnnCreatePoolingDescriptor, CUDNN_STATUS_ALLOC_FAILED)
CREATES(cudnnCreateSpatialTransformerDescriptor, CUDNN_STATUS_ALLOC_FAILED)
DESTROYS(cudnnDestroyTensorDescriptor)
DESTROYS(cudnnDestroyActivationDescriptor)
DESTROYS(cudnnDestroyPoolingDescriptor)
DESTROYS(cudnnDestroySpatialTransformerDescriptor)
DOES_NOTHING(cudnnSetTensorNdDescriptor)
DOES_NOTHING(cudnnSetTensor4dDescriptor)
DOES_NOTHING(cudnnSetActivationDescriptor)
DOES_NOTHING(cudnnSetPooling2dDescriptor)
DOES_NOTHING(cudnnSetSpatialTransformerNdDescriptor)
DOES_NOTHING(cudnnPoolingForward)
DOES_NOTHING(cudnnPoolingBackward)
DOES_NOTHING(cudnnBatchNormalizationForwardInference)
DOES_NOTHING(cudnnBatchNormalizationForwardTrainingEx)
DOES_NOTHING(cudnnBatchNormalizationBackwardEx)
DOES_NOTHING(cudnnSpatialTfGridGeneratorForward)
DOES_NOTHING(cudnnSpatialTfGridGeneratorBackward)
DOES_NOTHING(cudnnSpatialTfSamplerForward)
DOES_NOTHING(cudnnSpatialTfSamplerBackward)

#pragma GCC diagnostic ignored "-Wunused-parameter"

cudnnStatus_t cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, cudnnBatchNormOps_t operations, const cudnnTensorDescriptor_t x,
    const cudnnTensorDescriptor_t z, const cudnnTensorDescriptor_t y, const cudnnTensorDescriptor_t parameters,
    const cudnnActivationDescriptor_t activation, size_t *bytes) {
    return *bytes = 0, CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetBatchNormalizationBackwardExWorkspaceSize(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, cudnnBatchNormOps_t operations, const cudnnTensorDescriptor_t x,
    const cudnnTensorDescriptor_t y, const cudnnTensorDescriptor_t dy, const cudnnTensorDescriptor_t dz,
    const cudnnTensorDescriptor_t dx, const cudnnTensorDescriptor_t parameters,
    const cudnnActivationDescriptor_t activation, size_t *bytes) {
    return *bytes = 0, CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetBatchNormalizationTrainingExReserveSpaceSize(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, cudnnBatchNormOps_t operations,
    const cudnnActivationDescriptor_t activation, const cudnnTensorDescriptor_t x, size_t *bytes) {
    return *bytes = 0, CUDNN_STATUS_SUCCESS;
}
