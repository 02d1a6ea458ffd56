/* libcudart: streams and events. Work is done when it is given, so there is never anything to wait for.
 * Contracts: cuda_runtime_api.h. */
#include <stdlib.h>
#include <time.h>

#include "runtime.h"

/* 0, 1 and 2 stand for the default streams of the runtime, and have no flags or priority of their own. */
static vg_stream *own(cudaStream_t stream) { return (size_t)stream > 2 ? (vg_stream *)stream : NULL; }

vg_stream *vg_stream_new(unsigned flags, int priority) {
    vg_stream *stream = malloc(sizeof *stream);
    if (stream != NULL) *stream = (vg_stream){flags, priority};
    return stream;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
    *stream = (cudaStream_t)vg_stream_new(flags, priority);
    return *stream ? cudaSuccess : vg_error(cudaErrorOperatingSystem);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    if (own(stream) == NULL) return vg_error(cudaErrorInvalidResourceHandle);
    free(own(stream));
    return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) {
    *priority = own(stream) ? own(stream)->priority : 0;
    return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned *flags) {
    *flags = own(stream) ? own(stream)->flags : cudaStreamDefault;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return (void)stream, cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return (void)stream, cudaSuccess; }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    return (void)stream, (void)event, (void)flags, cudaSuccess;
}

/* Nothing is captured: cudaStreamBeginCapture is not written. */
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    (void)stream;
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

#if CUDART_VERSION >= 13000
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *graph, const cudaGraphNode_t **nodes,
                                     const cudaGraphEdgeData **edges, size_t *count) {
    (void)edges;
#else
cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t stream, enum cudaStreamCaptureStatus *status,
                                        unsigned long long *id, cudaGraph_t *graph,
                                        const cudaGraphNode_t **nodes, size_t *count) {
#endif
    /* "If the status is not active, the others are not written." */
    (void)id, (void)graph, (void)nodes, (void)count;
    return cudaStreamIsCapturing(stream, status);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) {
    static __thread enum cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
    enum cudaStreamCaptureMode before = current;
    current = *mode;
    *mode = before;
    return cudaSuccess;
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void *data, unsigned flags) {
    (void)flags;
    callback(stream, cudaSuccess, data);
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data) {
    (void)stream;
    function(data);
    return cudaSuccess;
}

/* Events hold the host's time: what lies between two of them is the time the host took, and no device's. */
typedef struct { unsigned flags; bool is_recorded; struct timespec at; } event;

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *handle, unsigned flags) {
    event *made = calloc(1, sizeof *made);
    if (made == NULL) return vg_error(cudaErrorOperatingSystem);
    made->flags = flags;
    *handle = (cudaEvent_t)made;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *handle) { return cudaEventCreateWithFlags(handle, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    free(handle);
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream, unsigned flags) {
    event *recorded = (event *)handle;
    (void)stream, (void)flags;
    if (recorded == NULL) return vg_error(cudaErrorInvalidResourceHandle);
    clock_gettime(CLOCK_MONOTONIC, &recorded->at);
    recorded->is_recorded = true;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
    return cudaEventRecordWithFlags(handle, stream, cudaEventRecordDefault);
}

cudaError_t cudaEventQuery(cudaEvent_t handle) { return (void)handle, cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t handle) { return (void)handle, cudaSuccess; }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    const event *from = (event *)start, *to = (event *)end;
    if (from == NULL || to == NULL || !from->is_recorded || !to->is_recorded ||
        ((from->flags | to->flags) & cudaEventDisableTiming))
        return vg_error(cudaErrorInvalidResourceHandle);
    *milliseconds = (float)((double)(to->at.tv_sec - from->at.tv_sec) * 1e3 +
                            (double)(to->at.tv_nsec - from->at.tv_nsec) / 1e6);
    return cudaSuccess;
}
