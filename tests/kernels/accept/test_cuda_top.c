#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/kernels/accept/top_cases.h"
#include "tests/support/build.h"
#include "tests/support/device.h"

static void on_device(void (*run)(weir_backend *)) {
    weir_backend *be = device_open();
    cr_assert_eq(weir__backend_reserve(be, (size_t)weir__accept_cuda_scratch_floats(70001)), WEIR_OK);
    run(be);
    weir__backend_close(be);
}

static void few(weir_backend *be) {
    static const int sizes[] = {1, 2, 19, 20, 21, 1023, 1024, 1025, 5003, 70001}, few_sizes[] = {21, 2051};
    if (build_is_tsan())
        top_case_rows(be, few_sizes, 2);
    else
        top_case_rows(be, sizes, build_is_sanitized() ? 8 : 10);
}

/* How many blocks share a row depends on how many SMs there are. */
Test(cuda_top, entries_are_those_of_a_sort) { on_device(few); }
Test(cuda_top, entries_are_those_of_a_sort_on_one_sm) {
    setenv("WEIR_RUNNER_SMS", "1", 1);
    on_device(few);
}

Test(cuda_top, an_unusable_row_has_no_entry) { on_device(top_case_unusable); }
Test(cuda_top, refuses_what_its_contract_refuses) { on_device(top_case_refusals); }
