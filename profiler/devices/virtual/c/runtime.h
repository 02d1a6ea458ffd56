/* What the files of the CUDA runtime share: the last error of each thread, and streams under capture. */
#pragma once

#include <cuda_runtime_api.h>

#include "virtual_gpu.h"

/* Remember an error for cudaGetLastError, as every function of the runtime does, and return it. */
cudaError_t vg_error(cudaError_t error);

/* What a result of the memory table means to the runtime. */
cudaError_t vg_memory_error(vg_result result);

/* One capture of a graph, which starts with one stream and takes in those that wait for it. */
typedef struct vg_capture {
    unsigned long long id;
    cudaGraph_t graph;
    cudaStream_t origin;
    bool is_active, is_invalid;
} vg_capture;

/* NULL of a default stream, which has nothing of its own. */
vg_stream *vg_own_stream(cudaStream_t stream);

/* NULL where nothing is captured. */
vg_capture *vg_capture_of(cudaStream_t stream);
