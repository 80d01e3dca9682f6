#ifndef WEIR_TESTS_SUPPORT_DEVICE_H
#define WEIR_TESTS_SUPPORT_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/backend.h"

/* Device 0: a GPU in test_cuda_*, the CPU runner in test_runner_*. Skips the test where there is none; with
 * WEIR_REQUIRE_GPU=1 fails it, so that a machine with a GPU cannot pass by skipping. Never NULL. */
weir_backend *device_open(void);
bool device_is_runner(const weir_backend *be);

/* Device memory is no host memory: these are the ways there. They fail the test instead of returning an
 * error. */
void *device_room(weir_backend *be, size_t bytes);                 /* undefined contents (the runner: NaN) */
void *device_put(weir_backend *be, const void *src, size_t bytes); /* a copy of src */
void device_get(weir_backend *be, void *dst, const void *src, size_t bytes); /* waits for what is queued */

#endif
