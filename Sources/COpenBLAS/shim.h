#include <cblas.h>

// LAPACK's symmetric eigenvalue solver, which OpenBLAS holds but its headers do not declare everywhere. The last two are
// the lengths of the strings, which Fortran passes.
void dsyevd_(
    const char *job, const char *triangle, const int *n, double *a, const int *lda, double *w, double *work,
    const int *lwork, int *iwork, const int *liwork, int *info, size_t job_length, size_t triangle_length);
