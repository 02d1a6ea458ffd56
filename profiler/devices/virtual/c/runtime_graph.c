/* libcudart: graphs. What is captured is done at once, and does nothing; what stays is that a stream is being
 * captured, by which torch's allocator gives a graph memory of its own. Contract: cuda_runtime_api.h. */
#include <stdlib.h>

#include "runtime.h"

typedef struct { cudaHostFn_t destroy; void *data; unsigned users; } object;
typedef struct { object *objects[64]; int count; } graph;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    static unsigned long long captures;
    vg_stream *captured = vg_own_stream(stream);
    (void)mode; /* which calls of other threads are errors in the meantime: none of ours is unsafe */
    if (captured == NULL) return vg_error(cudaErrorStreamCaptureUnsupported); /* the default stream */
    if (vg_capture_of(stream) != NULL) return vg_error(cudaErrorIllegalState);
    vg_capture *made = calloc(1, sizeof *made); /* kept for good: streams and events may still point to it */
    graph *filled = calloc(1, sizeof *filled);
    if (made == NULL || filled == NULL) return vg_error(cudaErrorOperatingSystem);
    made->id = __atomic_add_fetch(&captures, 1, __ATOMIC_RELAXED);
    made->graph = (cudaGraph_t)filled;
    made->origin = stream;
    made->is_active = true;
    captured->capture = made;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
    vg_capture *capture = vg_capture_of(stream);
    *out = NULL;
    if (capture == NULL) return vg_error(cudaErrorIllegalState);
    if (capture->origin != stream) return vg_error(cudaErrorStreamCaptureUnmatched);
    capture->is_active = false;
    if (capture->is_invalid) return vg_error(cudaErrorStreamCaptureInvalidated);
    *out = capture->graph;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    vg_capture *capture = vg_capture_of(stream);
    *status = capture == NULL       ? cudaStreamCaptureStatusNone
              : capture->is_invalid ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

#if CUDART_VERSION >= 13000
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *graph, const cudaGraphNode_t **nodes,
                                     const cudaGraphEdgeData **edges, size_t *count) {
    if (edges) *edges = NULL;
#else
cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t stream, enum cudaStreamCaptureStatus *status,
                                        unsigned long long *id, cudaGraph_t *graph,
                                        const cudaGraphNode_t **nodes, size_t *count) {
#endif
    vg_capture *capture = vg_capture_of(stream);
    cudaStreamIsCapturing(stream, status);
    if (*status != cudaStreamCaptureStatusActive) return cudaSuccess; /* "the others are not written" */
    if (id) *id = capture->id;
    if (graph) *graph = capture->graph;
    if (nodes) *nodes = NULL;
    if (count) *count = 0; /* what comes next depends on nothing */
    return cudaSuccess;
}

/* A graph is taken to have one node, of which nobody asks anything. */
cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t *nodes, size_t *count) {
    (void)handle;
    if (nodes != NULL) return vg_error(vg_unwritten("cudaGraphGetNodes (the nodes)", cudaErrorNotSupported));
    return *count = 1, cudaSuccess;
}

static void drop(object *dropped, unsigned users) {
    dropped->users -= users < dropped->users ? users : dropped->users;
    if (dropped->users > 0) return;
    dropped->destroy(dropped->data);
    free(dropped);
}

cudaError_t cudaUserObjectCreate(cudaUserObject_t *out, void *data, cudaHostFn_t destroy, unsigned users,
                                 unsigned flags) {
    object *made = calloc(1, sizeof *made);
    (void)flags;
    if (made == NULL) return vg_error(cudaErrorOperatingSystem);
    *made = (object){destroy, data, users};
    *out = (cudaUserObject_t)made;
    return cudaSuccess;
}

cudaError_t cudaUserObjectRelease(cudaUserObject_t handle, unsigned users) {
    return drop((object *)handle, users), cudaSuccess;
}

cudaError_t cudaGraphRetainUserObject(cudaGraph_t handle, cudaUserObject_t kept, unsigned users, unsigned flags) {
    graph *in = (graph *)handle;
    if (in->count == (int)(sizeof in->objects / sizeof *in->objects))
        return vg_error(vg_unwritten("cudaGraphRetainUserObject (of many)", cudaErrorNotSupported));
    if (!(flags & cudaGraphUserObjectMove)) ((object *)kept)->users += users;
    in->objects[in->count++] = (object *)kept;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
    graph *dropped = (graph *)handle;
    for (int i = 0; i < dropped->count; i++) drop(dropped->objects[i], 1);
    free(dropped);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t handle, unsigned long long flags) {
    (void)handle, (void)flags;
    *out = calloc(1, 1);
    return *out ? cudaSuccess : vg_error(cudaErrorOperatingSystem);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t made, cudaStream_t stream) {
    (void)made, (void)stream;
    return vg_launched(), cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t made) { return free(made), cudaSuccess; }
