/* What libraries write of integers into device memory. Memory that holds the value already is not touched. */
#include "virtual_gpu.h"

static void write(int *to, int value) {
    if (*to != value) *to = value;
}

void vg_no_errors(int *info, size_t count) {
    for (size_t i = 0; info != NULL && i < count; i++) write(&info[i], 0);
}

void vg_no_exchange(int *pivots, size_t rows) {
    for (size_t i = 0; pivots != NULL && i < rows; i++) write(&pivots[i], (int)i + 1);
}
