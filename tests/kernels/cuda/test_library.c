#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/library.h"

/* libm, which every machine has, stands for a library that may be missing. */
Test(library, functions_are_found_by_name_and_can_be_called) {
    const char *const name[] = {"cos", "ldexp"};
    weir_library_fn fn[2] = {NULL, NULL};
    void *library = NULL;
    weir_err why;
    cr_assert_eq(weir__library_open(&library, "libm.so.6", name, 2, fn, &why), WEIR_OK);
    cr_assert_not_null(library);
    cr_assert(((double (*)(double))fn[0])(0.0) == 1.0);
    cr_assert(((double (*)(double, int))fn[1])(1.5, 3) == 12.0);
    weir__library_close(library);
    weir__library_close(NULL);
}

Test(library, what_is_missing_is_named_and_nothing_is_filled_in) {
    const char *const name[] = {"cos", "weir_no_such_function"};
    weir_library_fn fn[2] = {NULL, NULL};
    void *library = NULL;
    weir_err why;
    cr_assert_eq(weir__library_open(&library, "libm.so.6", name, 2, fn, &why), WEIR_ENOTSUP);
    cr_assert_str_eq(why.text, "libm.so.6 lacks weir_no_such_function");
    cr_assert_eq(weir__library_open(&library, "libweir_none.so.1", name, 1, fn, &why), WEIR_ENOTSUP);
    cr_assert_str_eq(why.text, "no libweir_none.so.1");
    cr_assert(!library && !fn[0] && !fn[1]);
    cr_assert_eq(weir__library_open(NULL, "libm.so.6", name, 1, fn, NULL), WEIR_EINVAL);
    cr_assert_eq(weir__library_open(&library, NULL, name, 1, fn, NULL), WEIR_EINVAL);
    cr_assert_eq(weir__library_open(&library, "libm.so.6", name, 1000, fn, NULL), WEIR_EINVAL);
    cr_assert_eq(weir__library_open(&library, "libm.so.6", name, -1, fn, NULL), WEIR_EINVAL);
}

/* One that the loader does not know lies where a toolkit has its libraries, and where a wheel has them. */
Test(library, a_library_is_looked_for_where_cuda_has_its_own) {
    static const char *const place[][2] = {{"CUDA_HOME", "lib64"},
                                           {"CUDA_PATH", "lib64"},
                                           {"VIRTUAL_ENV", "lib/python3.99/site-packages/nvidia/cu13/lib"}};
    const char *const name[] = {"cos"};
    weir_library_fn fn[1];
    void *library = NULL;
    char libm[256], target[300], folder[256], path[512];
    cr_assert_eq(weir__library_open(&library, "libm.so.6", name, 1, fn, NULL), WEIR_OK);
    weir__library_where(fn[0], libm, sizeof libm);
    cr_assert_eq(libm[0], '/', "%s", libm);
    snprintf(target, sizeof target, "%s/libm.so.6", libm);
    for (size_t i = 0; i < sizeof place / sizeof *place; i++) {
        char root[] = "/tmp/weir_library_XXXXXX", command[640], soname[64];
        cr_assert_not_null(mkdtemp(root));
        snprintf(folder, sizeof folder, "%s/%s", root, place[i][1]);
        snprintf(soname, sizeof soname, "libweir_probe_%zu.so.1", i);
        snprintf(path, sizeof path, "%s/%s", folder, soname);
        snprintf(command, sizeof command, "mkdir -p %s", folder);
        cr_assert(system(command) == 0 && symlink(target, path) == 0);
        cr_assert_eq(weir__library_open(&library, soname, name, 1, fn, NULL), WEIR_ENOTSUP, "not there yet");
        setenv(place[i][0], root, 1);
        const weir_status s = weir__library_open(&library, soname, name, 1, fn, NULL);
        unsetenv(place[i][0]);
        snprintf(command, sizeof command, "rm -r %s", root);
        cr_assert_eq(system(command), 0);
        cr_assert_eq(s, WEIR_OK, "%s", place[i][0]);
        cr_assert(((double (*)(double))fn[0])(0.0) == 1.0);
        weir__library_close(library);
    }
}

/* docs/gpu.md has the order. libm and libc stand for two versions of one library. */
Test(library, what_a_toolkit_has_is_before_what_a_wheel_has) {
    static const char *const place[][3] = {
        {"CUDA_HOME", "lib64", "libm.so.6"},
        {"VIRTUAL_ENV", "lib/python3.99/site-packages/nvidia/cu13/lib", "libc.so.6"}};
    const char *const in_libm[] = {"cos"}, *const in_libc[] = {"getpid"};
    weir_library_fn fn[1];
    void *library = NULL;
    char root[2][32] = {"/tmp/weir_library_XXXXXX", "/tmp/weir_library_XXXXXX"}, path[512], command[640];
    for (size_t i = 0; i < 2; i++) {
        char folder[300], target[320];
        cr_assert_eq(weir__library_open(&library, place[i][2], i ? in_libc : in_libm, 1, fn, NULL), WEIR_OK);
        weir__library_where(fn[0], folder, sizeof folder);
        weir__library_close(library);
        snprintf(target, sizeof target, "%s/%s", folder, place[i][2]);
        cr_assert_not_null(mkdtemp(root[i]));
        snprintf(command, sizeof command, "mkdir -p %s/%s", root[i], place[i][1]);
        snprintf(path, sizeof path, "%s/%s/libweir_probe.so.1", root[i], place[i][1]);
        cr_assert(system(command) == 0 && symlink(target, path) == 0);
        setenv(place[i][0], root[i], 1);
    }
    cr_expect_eq(weir__library_open(&library, "libweir_probe.so.1", in_libm, 1, fn, NULL), WEIR_OK);
    weir__library_close(library);
    unsetenv("CUDA_HOME");
    cr_expect_eq(weir__library_open(&library, "libweir_probe.so.1", in_libc, 1, fn, NULL), WEIR_OK);
    weir__library_close(library);
    unsetenv("VIRTUAL_ENV");
    for (size_t i = 0; i < 2; i++) {
        snprintf(command, sizeof command, "rm -r %s", root[i]);
        cr_expect_eq(system(command), 0);
    }
}
