/* The error state of the CUDA runtime: the last error of each thread. */
#pragma once

#include <cuda_runtime_api.h>

#include "virtual_gpu.h"

/* Remember an error for cudaGetLastError, as every function of the runtime does, and return it. */
cudaError_t vg_error(cudaError_t error);

/* What a result of the memory table means to the runtime. */
cudaError_t vg_memory_error(vg_result result);
