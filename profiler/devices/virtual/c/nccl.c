/* libnccl: communicators of any size in which this process is the only one that is there.
 * Contract: nccl.h.
 *
 * Every other rank is taken to hold what this one holds. Of floating-point data there is nothing to move. Integers
 * are moved and summed as they would be, up to a size that only data and no counts have: what torch asks other
 * ranks for (sizes of objects, their bytes, numbers of tokens) is then what a rank like this one would have
 * answered. Memory that the real library takes beside torch's allocator is not accounted for. */
#include <nccl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "virtual_gpu.h"

/* Larger messages are left as they are: moving them would touch as much of the host's memory. */
#define MOST_BYTES_MOVED ((size_t)16 << 20)
#define UNKNOWN_SIZE 0 /* of a communicator that was split off: who else chose its color is not known here */

struct ncclComm { int ranks, rank; };

static ncclResult_t communicator(ncclComm_t *out, int ranks, int rank) {
    if (out == NULL || ranks < 0 || rank < 0 || (ranks != UNKNOWN_SIZE && rank >= ranks)) return ncclInvalidArgument;
    if (vg_gpu() == NULL) return ncclUnhandledCudaError;
    *out = malloc(sizeof **out);
    if (*out == NULL) return ncclSystemError;
    **out = (struct ncclComm){ranks, rank};
    return ncclSuccess;
}

ncclResult_t ncclGetVersion(int *version) { return *version = NCCL_VERSION_CODE, ncclSuccess; }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) { return memset(id, 0, sizeof *id), ncclSuccess; }

ncclResult_t ncclCommInitRank(ncclComm_t *out, int ranks, ncclUniqueId id, int rank) {
    return (void)id, ranks < 1 ? ncclInvalidArgument : communicator(out, ranks, rank);
}

/* Whatever the configuration says about blocking, the communicator is ready at once. */
ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config) {
    return (void)config, ncclCommInitRank(out, ranks, id, rank);
}

ncclResult_t ncclCommInitRankScalable(ncclComm_t *out, int ranks, int rank, int ids, ncclUniqueId *id,
                                      ncclConfig_t *config) {
    if (ids < 1) return ncclInvalidArgument;
    return ncclCommInitRankConfig(out, ranks, *id, rank, config);
}

ncclResult_t ncclCommInitAll(ncclComm_t *out, int devices, const int *list) {
    if (devices != 1 || (list != NULL && *list != 0)) return ncclInvalidArgument; /* there is one device */
    return communicator(out, 1, 0);
}

ncclResult_t ncclCommSplit(ncclComm_t from, int color, int key, ncclComm_t *out, ncclConfig_t *config) {
    (void)from, (void)key, (void)config;
    if (color == NCCL_SPLIT_NOCOLOR) return *out = NULL, ncclSuccess;
    return communicator(out, UNKNOWN_SIZE, 0);
}

static ncclResult_t release(ncclComm_t communicator) { return free(communicator), ncclSuccess; }

ncclResult_t ncclCommDestroy(ncclComm_t communicator) { return release(communicator); }
ncclResult_t ncclCommAbort(ncclComm_t communicator) { return release(communicator); }
ncclResult_t ncclCommFinalize(ncclComm_t communicator) { return (void)communicator, ncclSuccess; }

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t *error) {
    return (void)communicator, *error = ncclSuccess, ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t communicator, int *ranks) {
    if (communicator->ranks == UNKNOWN_SIZE) return vg_unwritten("ncclCommCount (after a split)", ncclInvalidUsage);
    return *ranks = communicator->ranks, ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t communicator, int *rank) {
    return *rank = communicator->rank, ncclSuccess;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t communicator, int *device) {
    return (void)communicator, *device = 0, ncclSuccess;
}

/* "Enables zero-copy": nothing is copied anyway. */
ncclResult_t ncclCommRegister(const ncclComm_t communicator, void *buffer, size_t bytes, void **handle) {
    return (void)communicator, (void)bytes, *handle = buffer, ncclSuccess;
}

ncclResult_t ncclCommDeregister(const ncclComm_t communicator, void *handle) {
    return (void)communicator, (void)handle, ncclSuccess;
}

ncclResult_t ncclMemAlloc(void **pointer, size_t bytes) {
    switch (vg_allocate(bytes, VG_DEVICE, pointer)) {
    case VG_OK: return ncclSuccess;
    case VG_OUT_OF_MEMORY: return ncclUnhandledCudaError;
    default: return ncclSystemError;
    }
}

ncclResult_t ncclMemFree(void *pointer) {
    return vg_free(pointer, VG_DEVICE) == VG_OK ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t ncclGroupStart(void) { return ncclSuccess; }
ncclResult_t ncclGroupEnd(void) { return ncclSuccess; } /* what was called since the start is done already */

/* Built-in operators are below ncclNumOps; a made one is only ever used for floating-point data by torch. */
ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t *made, void *scalar, ncclDataType_t type,
                                      ncclScalarResidence_t residence, ncclComm_t communicator) {
    (void)scalar, (void)type, (void)residence, (void)communicator;
    return *made = ncclNumOps, ncclSuccess;
}

ncclResult_t ncclRedOpDestroy(ncclRedOp_t made, ncclComm_t communicator) {
    return (void)made, (void)communicator, ncclSuccess;
}

/* Bytes of an integer, and 0 of what is left as it is. */
static size_t integer_bytes(ncclDataType_t type) {
    switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclInt32:
    case ncclUint32: return 4;
    case ncclInt64:
    case ncclUint64: return 8;
    default: return 0;
    }
}

/* Memory that holds the same already is not written, and so not touched. */
static void move(void *to, const void *from, size_t bytes) {
    if (memcmp(to, from, bytes) != 0) memmove(to, from, bytes);
}

static bool is_moved(size_t elements, ncclDataType_t type, int copies) {
    size_t bytes = integer_bytes(type) * (size_t)copies;
    return bytes > 0 && elements > 0 && elements <= MOST_BYTES_MOVED / bytes;
}

static ncclResult_t gather(const void *from, void *to, size_t count, ncclDataType_t type, int ranks) {
    size_t bytes = count * integer_bytes(type);
    if (is_moved(count, type, ranks))
        for (int rank = 0; rank < ranks; rank++) move((char *)to + (size_t)rank * bytes, from, bytes);
    return ncclSuccess;
}

/* The sum, product or other reduction of the same value of every rank; as unsigned numbers, so that it wraps. */
static uint64_t reduced(uint64_t value, ncclRedOp_t operator, int ranks) {
    uint64_t product = 1;
    switch (operator) {
    case ncclSum: return value * (uint64_t)ranks;
    case ncclProd:
        for (int rank = 0; rank < ranks; rank++) product *= value;
        return product;
    default: return value; /* the least, the greatest and the average */
    }
}

static ncclResult_t reduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operator,
                           int ranks) {
    size_t bytes = integer_bytes(type);
    if (ranks == UNKNOWN_SIZE || operator >= ncclNumOps || !is_moved(count, type, 1)) return ncclSuccess;
    for (size_t i = 0; i < count; i++) {
        uint64_t value = 0;
        memcpy(&value, (const char *)from + i * bytes, bytes); /* little-endian */
        value = reduced(value, operator, ranks);
        move((char *)to + i * bytes, &value, bytes);
    }
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operator,
                           ncclComm_t communicator, cudaStream_t stream) {
    return (void)stream, reduce(from, to, count, type, operator, communicator->ranks);
}

ncclResult_t ncclReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operator,
                        int root, ncclComm_t communicator, cudaStream_t stream) {
    (void)stream;
    return root == communicator->rank ? reduce(from, to, count, type, operator, communicator->ranks) : ncclSuccess;
}

ncclResult_t ncclReduceScatter(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operator,
                               ncclComm_t communicator, cudaStream_t stream) {
    const char *own = (const char *)from + (size_t)communicator->rank * count * integer_bytes(type);
    return (void)stream, reduce(own, to, count, type, operator, communicator->ranks);
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t communicator,
                           cudaStream_t stream) {
    return (void)stream, gather(from, to, count, type, communicator->ranks);
}

ncclResult_t ncclGather(const void *from, void *to, size_t count, ncclDataType_t type, int root,
                        ncclComm_t communicator, cudaStream_t stream) {
    (void)stream;
    return root == communicator->rank ? gather(from, to, count, type, communicator->ranks) : ncclSuccess;
}

/* The chunk that each rank would send here is the one that this rank has for its own place. */
ncclResult_t ncclAlltoAll(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t communicator,
                          cudaStream_t stream) {
    const char *own = (const char *)from + (size_t)communicator->rank * count * integer_bytes(type);
    return (void)stream, gather(own, to, count, type, communicator->ranks);
}

ncclResult_t ncclScatter(const void *from, void *to, size_t count, ncclDataType_t type, int root,
                         ncclComm_t communicator, cudaStream_t stream) {
    const char *own = (const char *)from + (size_t)communicator->rank * count * integer_bytes(type);
    (void)stream;
    return root == communicator->rank ? gather(own, to, count, type, 1) : ncclSuccess;
}

/* What another rank would broadcast is what the receiver holds. */
ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
    (void)stream;
    return root == communicator->rank ? gather(from, to, count, type, 1) : ncclSuccess;
}

ncclResult_t ncclBcast(void *buffer, size_t count, ncclDataType_t type, int root, ncclComm_t communicator,
                       cudaStream_t stream) {
    return ncclBroadcast(buffer, buffer, count, type, root, communicator, stream);
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
    (void)from, (void)count, (void)type, (void)peer, (void)communicator, (void)stream;
    return ncclSuccess;
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
    (void)to, (void)count, (void)type, (void)peer, (void)communicator, (void)stream;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error (out of memory)";
    case ncclInvalidArgument: return "invalid argument";
    default: return "not supported by the virtual GPU";
    }
}

const char *ncclGetLastError(ncclComm_t communicator) { return (void)communicator, ""; }
