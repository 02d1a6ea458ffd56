/* Memory of the GPU: a table of address ranges, ordered by address, and how much of the card they take.
 *
 * The ranges are anonymous mappings without reserve, which cost nothing until touched. Device memory is never
 * touched. Since no kernel writes it, nothing else does either: a value that was copied there would be read back
 * as the result of whatever comes to lie in its place. So all of it is zeros, always.
 */
#define _GNU_SOURCE
#include "virtual_gpu.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct vg_physical { size_t bytes; int users; /* the handle, and each mapping */ };

/* From here on, giving pages back is quicker than writing them. */
#define LARGE_CLEAR ((size_t)1 << 20)

static vg_range *ranges;
static size_t count, room;
static size_t used_bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t rounded(size_t bytes) { return (bytes + VG_GRANULARITY - 1) / VG_GRANULARITY * VG_GRANULARITY; }

/* Index of the first range that starts after `address`. */
static size_t position_after(const void *address) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].start <= (const char *)address) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* A mapping lies inside its reservation and starts with or after it, so the last start is the innermost. */
static vg_range *range_at(const void *start, vg_kind kind) {
    for (size_t i = position_after(start); i > 0 && ranges[i - 1].start == start; i--)
        if (ranges[i - 1].kind == kind) return &ranges[i - 1];
    return NULL;
}

static bool insert(vg_range range) {
    if (count == room) {
        size_t more = room ? room * 2 : 1024;
        vg_range *larger = realloc(ranges, more * sizeof *ranges);
        if (larger == NULL) return false;
        ranges = larger;
        room = more;
    }
    size_t at = position_after(range.start);
    memmove(&ranges[at + 1], &ranges[at], (count - at) * sizeof *ranges);
    ranges[at] = range;
    count++;
    return true;
}

static void delete(vg_range *range) {
    size_t at = (size_t)(range - ranges);
    memmove(&ranges[at], &ranges[at + 1], (count - at - 1) * sizeof *ranges);
    count--;
}

static bool take(size_t bytes) {
    const vg_profile *gpu = vg_gpu();
    if (gpu == NULL || bytes > gpu->memory_bytes - gpu->context_bytes - used_bytes) return false;
    used_bytes += bytes;
    return true;
}

static void *address_space(void *where, size_t bytes, int protection, int flags) {
    void *start = mmap(where, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

vg_result vg_allocate(size_t bytes, vg_kind kind, void **out) {
    size_t size = kind == VG_DEVICE ? rounded(bytes) : bytes;
    vg_result result = VG_OK;
    pthread_mutex_lock(&lock);
    /* Managed memory may be more than the card has, and pinned memory is the host's. */
    if (kind == VG_DEVICE && !take(size)) result = VG_OUT_OF_MEMORY;
    else {
        void *start = address_space(NULL, size, PROT_READ | PROT_WRITE, 0);
        if (start == NULL || !insert((vg_range){start, size, kind, NULL})) {
            if (start != NULL) munmap(start, size);
            if (kind == VG_DEVICE) used_bytes -= size;
            result = VG_HOST_REFUSED;
        } else *out = start;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

vg_result vg_free(void *start, vg_kind kind) {
    pthread_mutex_lock(&lock);
    vg_range *range = range_at(start, kind);
    vg_result result = range == NULL ? VG_INVALID : VG_OK;
    if (range != NULL) {
        if (kind != VG_REGISTERED) munmap(range->start, range->bytes); /* registered memory is the caller's */
        if (kind == VG_DEVICE) used_bytes -= range->bytes;
        delete(range);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

vg_result vg_register(void *start, size_t bytes) {
    pthread_mutex_lock(&lock);
    vg_result result = insert((vg_range){start, bytes, VG_REGISTERED, NULL}) ? VG_OK : VG_HOST_REFUSED;
    pthread_mutex_unlock(&lock);
    return result;
}

bool vg_find(const void *address, vg_range *found) {
    bool is_found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = position_after(address); i > 0 && !is_found; i--) {
        const vg_range *range = &ranges[i - 1];
        if ((const char *)address < range->start + range->bytes) {
            *found = *range;
            is_found = true;
        } else if (range->kind != VG_MAPPED) break; /* only a mapping may lie before its reservation's end */
    }
    pthread_mutex_unlock(&lock);
    return is_found;
}

void vg_memory(size_t *free_bytes, size_t *total_bytes) {
    const vg_profile *gpu = vg_gpu();
    pthread_mutex_lock(&lock);
    *total_bytes = gpu->memory_bytes;
    *free_bytes = gpu->memory_bytes - gpu->context_bytes - used_bytes;
    pthread_mutex_unlock(&lock);
}

size_t vg_used_bytes(void) {
    pthread_mutex_lock(&lock);
    size_t bytes = used_bytes;
    pthread_mutex_unlock(&lock);
    return bytes;
}

vg_result vg_physical_create(size_t bytes, struct vg_physical **out) {
    if (bytes == 0 || bytes % VG_GRANULARITY != 0) return VG_INVALID;
    struct vg_physical *physical = malloc(sizeof *physical);
    if (physical == NULL) return VG_HOST_REFUSED;
    pthread_mutex_lock(&lock);
    bool taken = take(bytes);
    pthread_mutex_unlock(&lock);
    if (!taken) {
        free(physical);
        return VG_OUT_OF_MEMORY;
    }
    *physical = (struct vg_physical){bytes, 1};
    *out = physical;
    return VG_OK;
}

/* Called with the lock held. The memory goes back when the handle and every mapping of it are gone. */
static void drop(struct vg_physical *physical) {
    if (--physical->users > 0) return;
    used_bytes -= physical->bytes;
    free(physical);
}

vg_result vg_physical_release(struct vg_physical *physical) {
    if (physical == NULL) return VG_INVALID;
    pthread_mutex_lock(&lock);
    drop(physical);
    pthread_mutex_unlock(&lock);
    return VG_OK;
}

vg_result vg_reserve(size_t bytes, size_t alignment, void **out) {
    if (alignment < VG_GRANULARITY) alignment = VG_GRANULARITY;
    if (bytes == 0 || bytes % VG_GRANULARITY != 0 || (alignment & (alignment - 1)) != 0) return VG_INVALID;
    char *start = address_space(NULL, bytes + alignment, PROT_NONE, 0);
    if (start == NULL) return VG_HOST_REFUSED;
    char *aligned = (char *)(((uintptr_t)start + alignment - 1) & ~(uintptr_t)(alignment - 1));
    if (aligned > start) munmap(start, (size_t)(aligned - start));
    if (aligned < start + alignment) munmap(aligned + bytes, (size_t)(start + alignment - aligned));
    pthread_mutex_lock(&lock);
    bool kept = insert((vg_range){aligned, bytes, VG_RESERVED, NULL});
    pthread_mutex_unlock(&lock);
    if (!kept) {
        munmap(aligned, bytes);
        return VG_HOST_REFUSED;
    }
    *out = aligned;
    return VG_OK;
}

/* Called with the lock held. */
static bool is_inside_reservation(const char *start, size_t bytes) {
    for (size_t i = position_after(start); i > 0; i--) {
        const vg_range *range = &ranges[i - 1];
        if (range->kind == VG_RESERVED) return start + bytes <= range->start + range->bytes;
        if (range->kind != VG_MAPPED) return false;
        if (start < range->start + range->bytes) return false; /* mapped already */
    }
    return false;
}

vg_result vg_map(void *start, size_t bytes, struct vg_physical *physical) {
    if (physical == NULL || bytes != physical->bytes) return VG_INVALID;
    vg_result result = VG_INVALID;
    pthread_mutex_lock(&lock);
    /* Two mappings of one handle would have to show the same data, which ours do not. */
    if (physical->users == 1 && is_inside_reservation(start, bytes)) {
        if (address_space(start, bytes, PROT_READ | PROT_WRITE, MAP_FIXED) == NULL) result = VG_HOST_REFUSED;
        else if (insert((vg_range){start, bytes, VG_MAPPED, physical})) {
            physical->users++;
            result = VG_OK;
        } else result = VG_HOST_REFUSED;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

vg_result vg_unmap(void *start, size_t bytes) {
    vg_result result = VG_OK;
    char *end = (char *)start + bytes;
    pthread_mutex_lock(&lock);
    for (char *at = start; at < end;) {
        vg_range *range = range_at(at, VG_MAPPED);
        if (range == NULL || range->bytes > (size_t)(end - at)) {
            result = VG_INVALID;
            break;
        }
        at += range->bytes;
        address_space(range->start, range->bytes, PROT_NONE, MAP_FIXED); /* cannot fail: it replaces a mapping */
        drop(range->physical);
        delete(range);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

bool vg_is_mapped(const void *start, size_t bytes) {
    const char *at = start, *end = at + bytes;
    pthread_mutex_lock(&lock);
    while (at < end) {
        const vg_range *range = range_at(at, VG_MAPPED);
        if (range == NULL) break;
        at += range->bytes;
    }
    pthread_mutex_unlock(&lock);
    return at >= end;
}

static bool is_on_device(const void *address) {
    vg_range range;
    return vg_find(address, &range) && (range.kind == VG_DEVICE || range.kind == VG_MAPPED);
}

/* Whole pages become zeros by being given back, which costs nothing; the ends are written. */
static void clear(void *to, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *start = to, *end = start + bytes;
    char *first = (char *)(((uintptr_t)start + page - 1) / page * page);
    char *last = (char *)((uintptr_t)end / page * page);
    if (bytes < LARGE_CLEAR || first >= last || madvise(first, (size_t)(last - first), MADV_DONTNEED) != 0) {
        memset(to, 0, bytes);
        return;
    }
    memset(start, 0, (size_t)(first - start));
    memset(last, 0, (size_t)(end - last));
}

void vg_copy(void *to, const void *from, size_t bytes) {
    if (is_on_device(to)) return;
    if (is_on_device(from)) clear(to, bytes);
    else memmove(to, from, bytes);
}

void vg_copy_2d(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height) {
    for (size_t row = 0; row < height; row++)
        vg_copy((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
}

void vg_fill(void *to, const void *pattern, size_t pattern_bytes, size_t repeats) {
    if (is_on_device(to)) return;
    for (size_t i = 0; i < repeats; i++) memcpy((char *)to + i * pattern_bytes, pattern, pattern_bytes);
}
