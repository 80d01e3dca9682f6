#include "tests/support/device.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

weir_backend *device_open(void) {
    weir_backend *be = NULL;
    weir_err err = {""};
    const char *required = getenv("WEIR_REQUIRE_GPU");
    if (weir__backend_cuda_count(&err) == 0) {
        if (required && strcmp(required, "1") == 0) cr_assert_fail("WEIR_REQUIRE_GPU=1, but %s", err.text);
        cr_skip("%s", err.text);
    }
    const weir_status s = weir__backend_cuda_open(&be, 0, &err);
    cr_assert_eq(s, WEIR_OK, "%s", err.text);
    return be;
}

int device_ranks(const char *of_runner) {
    setenv("WEIR_RUNNER_DEVICES", of_runner, 0);
    setenv("CUDA_MODULE_LOADING", "EAGER", 0);
    weir__backend_close(device_open());
    return weir__backend_cuda_count(&(weir_err){""});
}

bool device_is_runner(const weir_backend *be) { return strstr(be->about, "CPU runner") != NULL; }

void *device_room(weir_backend *be, size_t bytes) {
    void *p = weir__backend_alloc(be, bytes);
    cr_assert_not_null(p, "no device memory for %zu bytes", bytes);
    return p;
}

void *device_put(weir_backend *be, const void *src, size_t bytes) {
    void *p = device_room(be, bytes);
    cr_assert_eq(weir__backend_upload(be, p, src, bytes), WEIR_OK, "%s", be->err.text);
    return p;
}

void device_get(weir_backend *be, void *dst, const void *src, size_t bytes) {
    cr_assert_eq(weir__backend_download(be, dst, src, bytes), WEIR_OK, "%s", be->err.text);
}

static float *filler(size_t floats) {
    float *f = malloc((floats + 1) * sizeof *f);
    cr_assert(f);
    for (size_t i = 0; i < floats; i++) f[i] = 7.0f;
    return f;
}

device_scratch device_scratch_limit(weir_backend *be, size_t floats) {
    const device_scratch s = {be, be->scratch_floats};
    cr_assert_leq(floats, s.all);
    float *f = filler(s.all);
    cr_assert_eq(weir__backend_upload(be, be->scratch, f, s.all * sizeof *f), WEIR_OK);
    free(f);
    be->scratch_floats = floats;
    return s;
}

void device_scratch_end(device_scratch s) {
    const size_t used = s.be->scratch_floats, rest = s.all - used;
    float *want = filler(rest), *got = filler(rest);
    s.be->scratch_floats = s.all;
    device_get(s.be, got, s.be->scratch + used, rest * sizeof *got);
    cr_assert(memcmp(got, want, rest * sizeof *got) == 0, "scratch is written past its %zu floats", used);
    free(want), free(got);
}
