#ifndef WEIR_TESTS_SUPPORT_DEVICE_H
#define WEIR_TESTS_SUPPORT_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/backend.h"

/* Device 0: a GPU in test_cuda_*, the CPU runner in test_runner_*. Skips the test where there is none; with
 * WEIR_REQUIRE_GPU=1 fails it, so that a machine with a GPU cannot pass by skipping. Never NULL. */
weir_backend *device_open(void);
/* As device_open, for tests of ranks: the devices there are; of the runner so many, or WEIR_RUNNER_DEVICES.
 * All kernels are loaded at once, because one that is loaded at its first launch may wait for the device,
 * where a peer waits for it. */
int device_ranks(const char *of_runner);
bool device_is_runner(const weir_backend *be);

/* Device memory is no host memory: these are the ways there. They fail the test instead of returning an
 * error. */
void *device_room(weir_backend *be, size_t bytes);                 /* undefined contents (the runner: NaN) */
void *device_put(weir_backend *be, const void *src, size_t bytes); /* a copy of src */
void device_get(weir_backend *be, void *dst, const void *src, size_t bytes); /* waits for what is queued */

/* Leaves ops `floats` of the scratch that there is, which they may not pass: end looks, and gives the rest
 * back. */
typedef struct device_scratch {
    weir_backend *be;
    size_t all;
} device_scratch;
device_scratch device_scratch_limit(weir_backend *be, size_t floats);
void device_scratch_end(device_scratch s);

#endif
