/* A GPU that is not there: what the stand-ins for CUDA's libraries share.
 *
 * Device memory is address space of the host that is reserved, accounted for and never touched: it reads as
 * zeros. Kernels are accepted and do nothing. A function returns success only where what it promises was
 * read and is kept; every other function of the libraries returns that library's "not supported", and is
 * counted by name (unwritten.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The profile of the GPU; read once from the environment variable SIZEUP_VIRTUAL_GPU (profile.c). */
typedef struct {
    char name[256];
    int major, minor;              /* compute capability */
    int binary_version;            /* newest architecture torch has code for that runs here, such as 86 */
    int multiprocessors;
    size_t memory_bytes;           /* what torch sees as the card's total */
    size_t context_bytes;          /* what the driver takes of it for this process */
    int threads_per_multiprocessor;
    int blocks_per_multiprocessor;
    int shared_per_multiprocessor; /* bytes */
    int shared_per_block_optin;    /* bytes */
    int l2_bytes;
    int clock_khz;                 /* of the multiprocessors */
    int memory_clock_khz;          /* with the width of the bus it gives the bandwidth */
} vg_profile;

#define VG_DRIVER_VERSION CUDART_VERSION /* the driver is as new as the runtime it was compiled for */
#define VG_WARP 32
#define VG_THREADS_PER_BLOCK 1024
#define VG_SHARED_PER_BLOCK 49152
#define VG_SHARED_RESERVED_PER_BLOCK 1024
#define VG_REGISTERS_PER_MULTIPROCESSOR 65536
#define VG_CONSTANT_BYTES 65536
#define VG_MEMORY_BUS_BITS 256 /* no source gives it */
/* Registers that every kernel is taken to need: their code is never looked at. */
#define VG_REGISTERS_PER_THREAD 32

/* NULL where this process has no virtual GPU. */
const vg_profile *vg_gpu(void);

/* Value of a device attribute, numbered alike by runtime and driver; false if nobody wrote it. */
bool vg_attribute(int attribute, int *value);

/* Blocks of so many threads and bytes of shared memory that a multiprocessor holds at a time. */
int vg_blocks_per_multiprocessor(int threads, size_t shared_bytes);

/* Memory. All sizes are in bytes; the granularity is that of the driver's physical pages. */
#define VG_GRANULARITY ((size_t)2 << 20)

typedef enum { VG_OK, VG_OUT_OF_MEMORY, VG_HOST_REFUSED, VG_INVALID } vg_result;
typedef enum { VG_DEVICE, VG_MANAGED, VG_PINNED, VG_REGISTERED, VG_RESERVED, VG_MAPPED } vg_kind;

typedef struct {
    char *start;
    size_t bytes;
    vg_kind kind;
    struct vg_physical *physical; /* of VG_MAPPED */
} vg_range;

vg_result vg_allocate(size_t bytes, vg_kind kind, void **out);
vg_result vg_free(void *start, vg_kind kind);
vg_result vg_register(void *start, size_t bytes);
bool vg_find(const void *address, vg_range *found);
void vg_memory(size_t *free_bytes, size_t *total_bytes);
size_t vg_used_bytes(void);

/* Physical memory and reserved addresses, as the driver's virtual memory management has them. */
vg_result vg_physical_create(size_t bytes, struct vg_physical **out);
vg_result vg_physical_release(struct vg_physical *physical);
vg_result vg_reserve(size_t bytes, size_t alignment, void **out);
vg_result vg_map(void *start, size_t bytes, struct vg_physical *physical);
vg_result vg_unmap(void *start, size_t bytes);
bool vg_is_mapped(const void *start, size_t bytes);

/* Device memory holds zeros whatever is copied or filled into it; what is the host's is copied and filled. */
void vg_copy(void *to, const void *from, size_t bytes);
void vg_copy_2d(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height);
void vg_fill(void *to, const void *pattern, size_t pattern_bytes, size_t count);

/* Integers on the device that a library writes and its caller acts on: no error in any of `count` matrices, and
 * pivots (counted from 1) of rows that need not be exchanged. NULL where the caller does not ask for them. */
void vg_no_errors(int *info, size_t count);
void vg_no_exchange(int *pivots, size_t rows);

/* Streams do at once what they are given, in the order in which they are given it. */
typedef struct { unsigned flags; int priority; struct vg_capture *capture; } vg_stream;
vg_stream *vg_stream_new(unsigned flags, int priority);

/* The device's clock, for events. A kernel takes no time that could be known, so that each is said to take the
 * same: what compares kernels by their time, as autotuning does, then chooses alike in every run. */
#define VG_NANOSECONDS_OF_A_KERNEL 1000000
void vg_launched(void);
unsigned long long vg_clock_nanoseconds(void);

/* Count a call of a function that nobody wrote, and return `code`. */
int vg_unwritten(const char *name, int code);

/* The same for one value of an argument, such as an attribute, that a written function does not know. */
int vg_unwritten_value(const char *function, int value, int code);

/* Read back what was counted: false past the last one. For ctypes. */
bool virtual_gpu_unwritten(int index, const char **name, long *calls);

/* Address of a driver function by the name that cuda.h gives it, or NULL. */
void *vg_driver_function(const char *name);
