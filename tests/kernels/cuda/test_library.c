#include <criterion/criterion.h>
#include <string.h>

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
