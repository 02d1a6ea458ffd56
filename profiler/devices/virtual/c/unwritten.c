/* Calls of functions that nobody wrote: counted by name, so that a report can say which they were. */
#include "virtual_gpu.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MOST_NAMES 2048

static struct { const char *name; long calls; } counted[MOST_NAMES];
static int names;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* `name` must outlive the process: a literal. */
int vg_unwritten(const char *name, int code) {
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < names && strcmp(counted[i].name, name) != 0) i++;
    if (i == names && names < MOST_NAMES) counted[names++].name = name;
    if (i < names) counted[i].calls++;
    pthread_mutex_unlock(&lock);
    return code;
}

int vg_unwritten_value(const char *function, int value, int code) {
    char name[128];
    snprintf(name, sizeof name, "%s of %d", function, value);
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < names && strcmp(counted[i].name, name) != 0) i++;
    const char *kept = i < names ? counted[i].name : strdup(name);
    pthread_mutex_unlock(&lock);
    return kept ? vg_unwritten(kept, code) : code;
}

bool virtual_gpu_unwritten(int index, const char **name, long *calls) {
    pthread_mutex_lock(&lock);
    bool there = index >= 0 && index < names;
    if (there) {
        *name = counted[index].name;
        *calls = counted[index].calls;
    }
    pthread_mutex_unlock(&lock);
    return there;
}
