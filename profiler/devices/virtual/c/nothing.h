/* Functions of which all that matters is that they succeed. They are defined under another C name, because most of
 * their arguments do not matter. Every library here has 0 for success. */
#pragma once

#include <stdlib.h>

/* Reads and writes device memory, or host memory and handles that are the caller's, and nothing else: what it would
 * compute is absent, and all it returns is a status. */
#define DOES_NOTHING(name)                  \
    int vg_##name(void) __asm__(#name);     \
    int vg_##name(void) { return 0; }

/* Makes what is only ever handed back to the library, and so holds nothing; `failed` is its lack of memory. */
#define CREATES(name, failed)                       \
    int vg_##name(void **made) __asm__(#name);      \
    int vg_##name(void **made) {                    \
        *made = calloc(1, 1);                       \
        return *made ? 0 : (failed);                \
    }

#define DESTROYS(name)                              \
    int vg_##name(void *made) __asm__(#name);       \
    int vg_##name(void *made) {                     \
        free(made);                                 \
        return 0;                                   \
    }
