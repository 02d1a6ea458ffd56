/* libcudnn: the graph interface, by which torch runs convolutions and attention. Contract: cudnn_graph.h.
 *
 * A descriptor keeps the attributes that it is given. What an engine would compute is absent, so that one engine
 * serves every graph. Its workspace is taken to be 0, as that of implicit GEMM and of fused attention is; engines
 * that need more (FFT, Winograd, split weight gradients) are known to the real library only. What cuDNN's frontend
 * asks for on top of it, such as the gradient of the queries in fp32, is torch's own code and stays. */
#include <cudnn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "virtual_gpu.h"

typedef struct attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    void *values;
    struct attribute *next;
} attribute;

typedef struct { int users; cudnnBackendDescriptorType_t type; bool is_final; attribute *first; } descriptor;

/* 0 of a type that nobody has read of. */
static size_t bytes_of(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR: return sizeof(void *);
    case CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case CUDNN_TYPE_CHAR: return sizeof(char);
    case CUDNN_TYPE_INT64: return sizeof(int64_t);
    case CUDNN_TYPE_DOUBLE: return sizeof(double);
    case CUDNN_TYPE_INT32: return sizeof(int32_t);
    case CUDNN_TYPE_FLOAT: return sizeof(float);
    case CUDNN_TYPE_FRACTION: return sizeof(cudnnFraction_t);
    /* The others are enumerations; the last that was read of is CUDNN_TYPE_OPERATIONGRAPH_MODE. */
    default: return (int)type > CUDNN_TYPE_HANDLE && (int)type <= 32 ? sizeof(int) : 0;
    }
}

/* The attribute, or the place where it would be. */
static attribute **place_of(descriptor *of, cudnnBackendAttributeName_t name) {
    attribute **place = &of->first;
    while (*place != NULL && (*place)->name != name) place = &(*place)->next;
    return place;
}

static void release(descriptor *dropped);

static void drop_values(attribute *from) {
    if (from->type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        for (int64_t i = 0; i < from->count; i++) release(((descriptor **)from->values)[i]);
    free(from->values);
}

static void clear(descriptor *of) {
    while (of->first != NULL) {
        attribute *first = of->first;
        of->first = first->next;
        drop_values(first);
        free(first);
    }
}

static void release(descriptor *dropped) {
    if (dropped == NULL || __atomic_sub_fetch(&dropped->users, 1, __ATOMIC_ACQ_REL) > 0) return;
    clear(dropped);
    free(dropped);
}

static cudnnStatus_t keep(descriptor *in, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                          int64_t count, const void *values) {
    size_t bytes = (size_t)count * bytes_of(type);
    attribute **place = place_of(in, name);
    void *kept = malloc(bytes ? bytes : 1);
    if (kept == NULL) return CUDNN_STATUS_ALLOC_FAILED;
    if (bytes) memcpy(kept, values, bytes);
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) /* the caller may destroy it before the one it was put in */
        for (int64_t i = 0; i < count; i++) {
            descriptor *part = ((descriptor **)kept)[i];
            if (part != NULL) __atomic_add_fetch(&part->users, 1, __ATOMIC_ACQ_REL);
        }
    if (*place != NULL) drop_values(*place);
    else if ((*place = calloc(1, sizeof **place)) == NULL) return free(kept), CUDNN_STATUS_ALLOC_FAILED;
    (*place)->name = name;
    (*place)->type = type;
    (*place)->count = count;
    (*place)->values = kept;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t make(cudnnBackendDescriptorType_t type, descriptor **out) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return CUDNN_STATUS_ALLOC_FAILED;
    (*out)->users = 1;
    (*out)->type = type;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
    return make(type, (descriptor **)out);
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t dropped) {
    return release(dropped), CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t in, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    if (in == NULL || count < 0 || (count > 0 && values == NULL)) return CUDNN_STATUS_BAD_PARAM;
    if (((descriptor *)in)->is_final) return CUDNN_STATUS_NOT_INITIALIZED;
    if (bytes_of(type) == 0)
        return vg_unwritten_value("cudnnBackendSetAttribute", (int)type, CUDNN_STATUS_NOT_SUPPORTED);
    return keep(in, name, type, count, values);
}

/* The one engine that there is, for the graph that `of` names, as an attribute of `in`. */
static cudnnStatus_t put_engine(descriptor *in, descriptor *of) {
    attribute *graph = *place_of(of, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    int64_t index = 0;
    descriptor *engine;
    if (graph == NULL) return CUDNN_STATUS_BAD_PARAM;
    if (make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) != CUDNN_STATUS_SUCCESS) return CUDNN_STATUS_ALLOC_FAILED;
    cudnnStatus_t status = keep(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph->type, 1, graph->values);
    if (status == CUDNN_STATUS_SUCCESS)
        status = keep(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
    engine->is_final = true;
    if (status == CUDNN_STATUS_SUCCESS)
        status = keep(in, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    release(engine);
    return status;
}

/* What can be asked of a descriptor besides what it was given. */
static cudnnStatus_t derive(descriptor *in) {
    int64_t none = 0, one = 1;
    descriptor *configuration;
    switch (in->type) {
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        return keep(in, CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64, 1, &one);
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return keep(in, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &none);
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
        if (keep(in, CUDNN_ATTR_ENGINECFG_SHARED_MEMORY_USED, CUDNN_TYPE_INT64, 1, &none) != CUDNN_STATUS_SUCCESS)
            return CUDNN_STATUS_ALLOC_FAILED;
        return keep(in, CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &none);
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR: {
        if (make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configuration) != CUDNN_STATUS_SUCCESS)
            return CUDNN_STATUS_ALLOC_FAILED;
        cudnnStatus_t status = put_engine(configuration, in);
        if (status == CUDNN_STATUS_SUCCESS) status = derive(configuration);
        configuration->is_final = true;
        if (status == CUDNN_STATUS_SUCCESS)
            status = keep(in, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &configuration);
        release(configuration);
        return status;
    }
    default: return CUDNN_STATUS_SUCCESS;
    }
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t in) {
    if (in == NULL) return CUDNN_STATUS_BAD_PARAM;
    cudnnStatus_t status = derive(in);
    if (status == CUDNN_STATUS_SUCCESS) ((descriptor *)in)->is_final = true;
    return status;
}

/* Lists that are empty of the one engine: it has no knobs, and nothing is remarkable about it. */
static bool is_empty_list(cudnnBackendAttributeName_t name) {
    switch (name) {
    case CUDNN_ATTR_ENGINE_KNOB_INFO:
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
    case CUDNN_ATTR_ENGINE_LAYOUT_INFO:
    case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
    case CUDNN_ATTR_ENGINECFG_INTERMEDIATE_INFO: return true;
    default: return false;
    }
}

/* "The array of backend descriptors is filled by the caller": each of them becomes a copy. */
static cudnnStatus_t copy(descriptor *to, const descriptor *from) {
    clear(to);
    to->type = from->type;
    for (attribute *known = from->first; known != NULL; known = known->next) {
        cudnnStatus_t status = keep(to, known->name, known->type, known->count, known->values);
        if (status != CUDNN_STATUS_SUCCESS) return status;
    }
    to->is_final = from->is_final;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t room, int64_t *count,
                                       void *values) {
    if (of == NULL) return CUDNN_STATUS_BAD_PARAM;
    attribute *known = *place_of(of, name);
    if (known == NULL && is_empty_list(name)) {
        if (count) *count = 0;
        return CUDNN_STATUS_SUCCESS;
    }
    if (known == NULL)
        return vg_unwritten_value("cudnnBackendGetAttribute", (int)name, CUDNN_STATUS_NOT_SUPPORTED);
    if (known->type != type) return CUDNN_STATUS_BAD_PARAM;
    if (count) *count = known->count;
    int64_t given = values == NULL ? 0 : room < known->count ? room : known->count;
    if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        if (given > 0) memcpy(values, known->values, (size_t)given * bytes_of(type));
        return CUDNN_STATUS_SUCCESS;
    }
    for (int64_t i = 0; i < given; i++) {
        descriptor *to = ((descriptor **)values)[i];
        if (to == NULL) return CUDNN_STATUS_BAD_PARAM;
        cudnnStatus_t status = copy(to, ((descriptor **)known->values)[i]);
        if (status != CUDNN_STATUS_SUCCESS) return status;
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t variant) {
    (void)handle;
    if (plan == NULL || variant == NULL) return CUDNN_STATUS_BAD_PARAM;
    return ((descriptor *)plan)->is_final ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_INITIALIZED;
}
