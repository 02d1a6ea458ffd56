/* libnvidia-ml: what the card is, and that nothing on it can be measured. The wheels bring no nvml.h; layouts and
 * numbers are NVIDIA's (nvml.h, as nvidia-ml-py repeats them). */
#include <stdio.h>
#include <string.h>
#include <cuda_runtime_api.h>

#include "virtual_gpu.h"

enum {
    NVML_SUCCESS = 0, NVML_ERROR_INVALID_ARGUMENT = 2, NVML_ERROR_NOT_SUPPORTED = 3, NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7, NVML_ERROR_DRIVER_NOT_LOADED = 9,
};

typedef struct { unsigned long long total, free, used; } nvml_memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } nvml_memory_v2;

static int card;

static int write_text(char *text, unsigned bytes, const char *value) {
    int length = snprintf(text, bytes, "%s", value);
    return length >= 0 && (unsigned)length < bytes ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

int nvmlInit_v2(void) { return vg_gpu() ? NVML_SUCCESS : NVML_ERROR_DRIVER_NOT_LOADED; }
int nvmlInitWithFlags(unsigned flags) { return (void)flags, nvmlInit_v2(); }
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlShutdown(void) { return NVML_SUCCESS; }

const char *nvmlErrorString(int error) {
    switch (error) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *text, unsigned bytes) { return write_text(text, bytes, "virtual"); }
int nvmlSystemGetNVMLVersion(char *text, unsigned bytes) { return write_text(text, bytes, "virtual"); }

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = VG_DRIVER_VERSION;
    return NVML_SUCCESS;
}

int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = vg_gpu() != NULL;
    return NVML_SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = &card;
    return index == 0 && vg_gpu() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **device) {
    (void)bus_id;
    *device = &card;
    return vg_gpu() ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

int nvmlDeviceGetIndex(void *device, unsigned *index) {
    *index = 0;
    return device == &card ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlDeviceGetName(void *device, char *text, unsigned bytes) {
    return device == &card ? write_text(text, bytes, vg_gpu()->name) : NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    if (device != &card) return NVML_ERROR_INVALID_ARGUMENT;
    *major = vg_gpu()->major;
    *minor = vg_gpu()->minor;
    return NVML_SUCCESS;
}

/* Every process has a card of its own: what is used of it is what the process that asks holds. */
static void read_memory(unsigned long long *total, unsigned long long *free, unsigned long long *used) {
    *total = vg_gpu()->memory_bytes;
    *used = vg_used_bytes();
    *free = *total - *used;
}

int nvmlDeviceGetMemoryInfo(void *device, nvml_memory *memory) {
    if (device != &card) return NVML_ERROR_INVALID_ARGUMENT;
    read_memory(&memory->total, &memory->free, &memory->used);
    return NVML_SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, nvml_memory_v2 *memory) {
    if (device != &card) return NVML_ERROR_INVALID_ARGUMENT;
    memory->reserved = 0;
    read_memory(&memory->total, &memory->free, &memory->used);
    return NVML_SUCCESS;
}

/* What a card that is not there cannot have. NVML has cards that answer so, and programs are ready for it. */
#define CANNOT_BE_MEASURED(name) \
    int name(void) { return NVML_ERROR_NOT_SUPPORTED; }

CANNOT_BE_MEASURED(nvmlDeviceGetUUID)
CANNOT_BE_MEASURED(nvmlDeviceGetSerial)
CANNOT_BE_MEASURED(nvmlDeviceGetPowerUsage)
CANNOT_BE_MEASURED(nvmlDeviceGetEnforcedPowerLimit)
CANNOT_BE_MEASURED(nvmlDeviceGetPowerManagementLimit)
CANNOT_BE_MEASURED(nvmlDeviceGetTotalEnergyConsumption)
CANNOT_BE_MEASURED(nvmlDeviceGetTemperature)
CANNOT_BE_MEASURED(nvmlDeviceGetTemperatureV)
CANNOT_BE_MEASURED(nvmlDeviceGetClockInfo)
CANNOT_BE_MEASURED(nvmlDeviceGetMaxClockInfo)
CANNOT_BE_MEASURED(nvmlDeviceGetUtilizationRates)
CANNOT_BE_MEASURED(nvmlDeviceGetFanSpeed)
CANNOT_BE_MEASURED(nvmlDeviceGetCurrentClocksEventReasons)
CANNOT_BE_MEASURED(nvmlDeviceGetCurrentClocksThrottleReasons)
CANNOT_BE_MEASURED(nvmlDeviceGetComputeRunningProcesses)
CANNOT_BE_MEASURED(nvmlDeviceGetComputeRunningProcesses_v2)
CANNOT_BE_MEASURED(nvmlDeviceGetComputeRunningProcesses_v3)
CANNOT_BE_MEASURED(nvmlDeviceGetGraphicsRunningProcesses_v3)
CANNOT_BE_MEASURED(nvmlDeviceGetNvLinkState)
CANNOT_BE_MEASURED(nvmlDeviceGetNvLinkRemoteDeviceType)
CANNOT_BE_MEASURED(nvmlDeviceGetNvLinkRemotePciInfo_v2)
CANNOT_BE_MEASURED(nvmlDeviceGetGpuFabricInfoV)
