/* The routines of one type; included by solver.c for each.
 * OF, OR and SY name a routine, TYPE is the type of a matrix, and REAL that of its singular and eigenvalues. */

cusolverStatus_t OF(potrf_bufferSize)(cusolverDnHandle_t h, cublasFillMode_t uplo, int n, TYPE *a, int lda,
                                      int *size) {
    return elements(size, blocked((size_t)n));
}

cusolverStatus_t OF(potrf)(cusolverDnHandle_t h, cublasFillMode_t uplo, int n, TYPE *a, int lda, TYPE *work, int size,
                           int *info) {
    return done(info, 1);
}

cusolverStatus_t OF(potrs)(cusolverDnHandle_t h, cublasFillMode_t uplo, int n, int right, const TYPE *a, int lda,
                           TYPE *b, int ldb, int *info) {
    return done(info, 1);
}

cusolverStatus_t OF(potrfBatched)(cusolverDnHandle_t h, cublasFillMode_t uplo, int n, TYPE *a[], int lda, int *info,
                                  int batch) {
    return done(info, batch);
}

cusolverStatus_t OF(potrsBatched)(cusolverDnHandle_t h, cublasFillMode_t uplo, int n, int right, TYPE *a[], int lda,
                                  TYPE *b[], int ldb, int *info, int batch) {
    return done(info, 1); /* one, which tells of wrong arguments only */
}

cusolverStatus_t OF(getrf_bufferSize)(cusolverDnHandle_t h, int m, int n, TYPE *a, int lda, int *size) {
    return elements(size, blocked((size_t)n));
}

cusolverStatus_t OF(getrf)(cusolverDnHandle_t h, int m, int n, TYPE *a, int lda, TYPE *work, int *pivots, int *info) {
    vg_no_exchange(pivots, (size_t)(m < n ? m : n));
    return done(info, 1);
}

cusolverStatus_t OF(getrs)(cusolverDnHandle_t h, cublasOperation_t op, int n, int right, const TYPE *a, int lda,
                           const int *pivots, TYPE *b, int ldb, int *info) {
    return done(info, 1);
}

cusolverStatus_t OF(geqrf_bufferSize)(cusolverDnHandle_t h, int m, int n, TYPE *a, int lda, int *size) {
    return elements(size, blocked((size_t)n));
}

cusolverStatus_t OF(geqrf)(cusolverDnHandle_t h, int m, int n, TYPE *a, int lda, TYPE *tau, TYPE *work, int size,
                           int *info) {
    return done(info, 1);
}

cusolverStatus_t OR(gqr_bufferSize)(cusolverDnHandle_t h, int m, int n, int k, const TYPE *a, int lda,
                                    const TYPE *tau, int *size) {
    return elements(size, blocked((size_t)n));
}

cusolverStatus_t OR(gqr)(cusolverDnHandle_t h, int m, int n, int k, TYPE *a, int lda, const TYPE *tau, TYPE *work,
                         int size, int *info) {
    return done(info, 1);
}

cusolverStatus_t OR(mqr_bufferSize)(cusolverDnHandle_t h, cublasSideMode_t side, cublasOperation_t op, int m, int n,
                                    int k, const TYPE *a, int lda, const TYPE *tau, const TYPE *c, int ldc,
                                    int *size) {
    return elements(size, blocked((size_t)(side == CUBLAS_SIDE_LEFT ? n : m)));
}

cusolverStatus_t OR(mqr)(cusolverDnHandle_t h, cublasSideMode_t side, cublasOperation_t op, int m, int n, int k,
                         const TYPE *a, int lda, const TYPE *tau, TYPE *c, int ldc, TYPE *work, int size, int *info) {
    return done(info, 1);
}

cusolverStatus_t OF(sytrf_bufferSize)(cusolverDnHandle_t h, int n, TYPE *a, int lda, int *size) {
    return elements(size, blocked((size_t)n));
}

cusolverStatus_t OF(sytrf)(cusolverDnHandle_t h, cublasFillMode_t uplo, int n, TYPE *a, int lda, int *pivots,
                           TYPE *work, int size, int *info) {
    vg_no_exchange(pivots, (size_t)n);
    return done(info, 1);
}

cusolverStatus_t OF(gesvd_bufferSize)(cusolverDnHandle_t h, int m, int n, int *size) {
    return elements(size, of_gesvd((size_t)m, (size_t)n));
}

cusolverStatus_t OF(gesvd)(cusolverDnHandle_t h, signed char job_u, signed char job_v, int m, int n, TYPE *a, int lda,
                           REAL *s, TYPE *u, int ldu, TYPE *v, int ldv, TYPE *work, int size, REAL *real_work,
                           int *info) {
    return done(info, 1);
}

cusolverStatus_t OF(gesvdj_bufferSize)(cusolverDnHandle_t h, cusolverEigMode_t job, int econ, int m, int n,
                                       const TYPE *a, int lda, const REAL *s, const TYPE *u, int ldu, const TYPE *v,
                                       int ldv, int *size, gesvdjInfo_t params) {
    return elements(size, (size_t)m * (size_t)n);
}

cusolverStatus_t OF(gesvdj)(cusolverDnHandle_t h, cusolverEigMode_t job, int econ, int m, int n, TYPE *a, int lda,
                            REAL *s, TYPE *u, int ldu, TYPE *v, int ldv, TYPE *work, int size, int *info,
                            gesvdjInfo_t params) {
    return done(info, 1);
}

cusolverStatus_t OF(gesvdjBatched_bufferSize)(cusolverDnHandle_t h, cusolverEigMode_t job, int m, int n,
                                              const TYPE *a, int lda, const REAL *s, const TYPE *u, int ldu,
                                              const TYPE *v, int ldv, int *size, gesvdjInfo_t params, int batch) {
    return elements(size, (size_t)m * (size_t)n * (size_t)batch);
}

cusolverStatus_t OF(gesvdjBatched)(cusolverDnHandle_t h, cusolverEigMode_t job, int m, int n, TYPE *a, int lda,
                                   REAL *s, TYPE *u, int ldu, TYPE *v, int ldv, TYPE *work, int size, int *info,
                                   gesvdjInfo_t params, int batch) {
    return done(info, batch);
}

cusolverStatus_t OF(gesvdaStridedBatched_bufferSize)(cusolverDnHandle_t h, cusolverEigMode_t job, int rank, int m,
                                                     int n, const TYPE *a, int lda, long long stride_a, const REAL *s,
                                                     long long stride_s, const TYPE *u, int ldu, long long stride_u,
                                                     const TYPE *v, int ldv, long long stride_v, int *size,
                                                     int batch) {
    return elements(size, (size_t)m * (size_t)n * (size_t)batch);
}

cusolverStatus_t OF(gesvdaStridedBatched)(cusolverDnHandle_t h, cusolverEigMode_t job, int rank, int m, int n,
                                          const TYPE *a, int lda, long long stride_a, REAL *s, long long stride_s,
                                          TYPE *u, int ldu, long long stride_u, TYPE *v, int ldv, long long stride_v,
                                          TYPE *work, int size, int *info, double *residuals, int batch) {
    for (int i = 0; residuals != NULL && i < batch; i++) residuals[i] = 0; /* on the host: exact */
    return done(info, batch);
}

cusolverStatus_t SY(evd_bufferSize)(cusolverDnHandle_t h, cusolverEigMode_t job, cublasFillMode_t uplo, int n,
                                    const TYPE *a, int lda, const REAL *w, int *size) {
    return elements(size, of_syevd((size_t)n));
}

cusolverStatus_t SY(evd)(cusolverDnHandle_t h, cusolverEigMode_t job, cublasFillMode_t uplo, int n, TYPE *a, int lda,
                         REAL *w, TYPE *work, int size, int *info) {
    return done(info, 1);
}

cusolverStatus_t SY(evjBatched_bufferSize)(cusolverDnHandle_t h, cusolverEigMode_t job, cublasFillMode_t uplo, int n,
                                           const TYPE *a, int lda, const REAL *w, int *size, syevjInfo_t params,
                                           int batch) {
    return elements(size, (size_t)n * (size_t)n * (size_t)batch);
}

cusolverStatus_t SY(evjBatched)(cusolverDnHandle_t h, cusolverEigMode_t job, cublasFillMode_t uplo, int n, TYPE *a,
                                int lda, REAL *w, TYPE *work, int size, int *info, syevjInfo_t params, int batch) {
    return done(info, batch);
}
