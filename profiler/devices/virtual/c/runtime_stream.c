/* libcudart: streams and events. Work is done when it is given, so there is never anything to wait for.
 * Contracts: cuda_runtime_api.h. */
#include <stdlib.h>

#include "runtime.h"

/* 0, 1 and 2 stand for the default streams of the runtime, and have no flags or priority of their own. */
vg_stream *vg_own_stream(cudaStream_t stream) { return (size_t)stream > 2 ? (vg_stream *)stream : NULL; }

vg_capture *vg_capture_of(cudaStream_t stream) {
    vg_stream *known = vg_own_stream(stream);
    return known != NULL && known->capture != NULL && known->capture->is_active ? known->capture : NULL;
}

vg_stream *vg_stream_new(unsigned flags, int priority) {
    vg_stream *stream = malloc(sizeof *stream);
    if (stream != NULL) *stream = (vg_stream){flags, priority, NULL};
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
    if (vg_own_stream(stream) == NULL) return vg_error(cudaErrorInvalidResourceHandle);
    free(vg_own_stream(stream));
    return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) {
    *priority = vg_own_stream(stream) ? vg_own_stream(stream)->priority : 0;
    return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned *flags) {
    *flags = vg_own_stream(stream) ? vg_own_stream(stream)->flags : cudaStreamDefault;
    return cudaSuccess;
}

/* What is captured has not run, so that waiting for it is an error, and spoils the capture. */
static cudaError_t wait_for(vg_capture *capture) {
    if (capture == NULL) return cudaSuccess;
    capture->is_invalid = true;
    return vg_error(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_for(vg_capture_of(stream)); }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return wait_for(vg_capture_of(stream)); }

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

/* Events hold the device's clock. */
typedef struct { unsigned flags; bool is_recorded; unsigned long long at; vg_capture *capture; } event;

static unsigned long long device_clock;

void vg_launched(void) { __atomic_add_fetch(&device_clock, VG_NANOSECONDS_OF_A_KERNEL, __ATOMIC_RELAXED); }

/* It never stands still, as no real one does: programs divide by what lies between two events. */
unsigned long long vg_clock_nanoseconds(void) { return __atomic_add_fetch(&device_clock, 1000, __ATOMIC_RELAXED); }

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
    (void)flags;
    if (recorded == NULL) return vg_error(cudaErrorInvalidResourceHandle);
    recorded->at = vg_clock_nanoseconds();
    recorded->capture = vg_capture_of(stream);
    recorded->is_recorded = true;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
    return cudaEventRecordWithFlags(handle, stream, cudaEventRecordDefault);
}

static vg_capture *capture_of_event(cudaEvent_t handle) {
    const event *known = (event *)handle;
    return known->capture != NULL && known->capture->is_active ? known->capture : NULL;
}

/* A stream that waits for work under capture is captured from then on. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t handle, unsigned flags) {
    (void)flags;
    if (handle == NULL) return vg_error(cudaErrorInvalidResourceHandle);
    if (capture_of_event(handle) == NULL) return cudaSuccess;
    if (vg_own_stream(stream) == NULL) return vg_error(cudaErrorStreamCaptureImplicit);
    vg_own_stream(stream)->capture = capture_of_event(handle);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    return handle ? wait_for(capture_of_event(handle)) : vg_error(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) { return cudaEventQuery(handle); }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    const event *from = (event *)start, *to = (event *)end;
    if (from == NULL || to == NULL || !from->is_recorded || !to->is_recorded ||
        ((from->flags | to->flags) & cudaEventDisableTiming))
        return vg_error(cudaErrorInvalidResourceHandle);
    *milliseconds = (float)((double)(to->at - from->at) / 1e6);
    return cudaSuccess;
}
