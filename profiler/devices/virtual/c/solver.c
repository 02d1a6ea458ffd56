/* libcusolver: dense factorisations, which are accepted, succeed at once, and leave their results absent.
 * Contract: cusolverDn.h.
 *
 * What is written are integers, which the caller acts on: `info` is 0 (no error, converged, not singular), and the
 * pivots are those of a matrix whose rows need not be exchanged. The real library does not say what its workspaces
 * are made of. Each is taken to be what LAPACK's routine of the same name needs for blocks of 64 columns, and one
 * copy of the matrices where LAPACK would work in place and this library does not (Jacobi and batched methods). */
#include <cusolverDn.h>
#include <stdlib.h>

#include "virtual_gpu.h"

/* Of a routine that computes nothing, nearly every argument goes unused. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#define COLUMNS_OF_A_BLOCK 64

static size_t lesser(size_t a, size_t b) { return a < b ? a : b; }
static size_t greater(size_t a, size_t b) { return a > b ? a : b; }

/* Handles and descriptions hold nothing that anybody reads, but for the stream. */
static cusolverStatus_t make(void **out, size_t bytes) {
    *out = calloc(1, bytes);
    return *out ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_ALLOC_FAILED;
}

static cusolverStatus_t forget(void *made) { return free(made), CUSOLVER_STATUS_SUCCESS; }

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle) { return make((void **)handle, sizeof(cudaStream_t)); }
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle) { return forget(handle); }
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *made) { return make((void **)made, 1); }
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t made) { return forget(made); }
cusolverStatus_t cusolverDnCreateGesvdjInfo(gesvdjInfo_t *made) { return make((void **)made, 1); }
cusolverStatus_t cusolverDnDestroyGesvdjInfo(gesvdjInfo_t made) { return forget(made); }
cusolverStatus_t cusolverDnCreateSyevjInfo(syevjInfo_t *made) { return make((void **)made, 1); }
cusolverStatus_t cusolverDnDestroySyevjInfo(syevjInfo_t made) { return forget(made); }

cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream) {
    return *(cudaStream_t *)handle = stream, CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnGetStream(cusolverDnHandle_t handle, cudaStream_t *stream) {
    return *stream = *(cudaStream_t *)handle, CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXgesvdjSetTolerance(gesvdjInfo_t made, double tolerance) {
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXgesvdjSetMaxSweeps(gesvdjInfo_t made, int sweeps) {
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXgesvdjSetSortEig(gesvdjInfo_t made, int is_sorted) {
    return CUSOLVER_STATUS_SUCCESS;
}

/* Elements of a workspace, as an int; what does not fit one the real library cannot say either. */
static cusolverStatus_t elements(int *out, size_t count) {
    if (count > INT32_MAX) return CUSOLVER_STATUS_INVALID_VALUE;
    return *out = (int)count, CUSOLVER_STATUS_SUCCESS;
}

static cusolverStatus_t done(int *info, int matrices) {
    return vg_no_errors(info, (size_t)matrices), CUSOLVER_STATUS_SUCCESS;
}

/* Workspaces in elements (LAPACK's documentation of LWORK). */
static size_t blocked(size_t columns) { return columns * COLUMNS_OF_A_BLOCK; }
static size_t of_gesvd(size_t m, size_t n) { return greater(3 * lesser(m, n) + greater(m, n), 5 * lesser(m, n)); }
static size_t of_syevd(size_t n) { return 1 + 6 * n + 2 * n * n; }

/* One set for each type: its letter, its name, that of its real part, and the names that only reflect the type. */

/* The names of routines for orthogonal and symmetric matrices are others where numbers are complex. */
#define OF(name) PASTE(LETTER, , name)
#define PASTE(letter, kind, name) JOIN(letter, kind, name)
#define JOIN(letter, kind, name) cusolverDn##letter##kind##name

#define OR(name) PASTE(LETTER, or, name)
#define SY(name) PASTE(LETTER, sy, name)

#define LETTER S
#define TYPE float
#define REAL float
#include "solver_routines.h"
#undef LETTER
#undef TYPE
#undef REAL

#define LETTER D
#define TYPE double
#define REAL double
#include "solver_routines.h"
#undef LETTER
#undef TYPE
#undef REAL

#undef OR
#undef SY
#define OR(name) PASTE(LETTER, un, name)
#define SY(name) PASTE(LETTER, he, name)

#define LETTER C
#define TYPE cuComplex
#define REAL float
#include "solver_routines.h"
#undef LETTER
#undef TYPE
#undef REAL

#define LETTER Z
#define TYPE cuDoubleComplex
#define REAL double
#include "solver_routines.h"
