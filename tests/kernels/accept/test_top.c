#include <criterion/criterion.h>

#include "tests/kernels/accept/top_cases.h"
#include "tests/kernels/op_fixture.h"

static const int sizes[] = {1, 2, 19, 20, 21, 1023, 1024, 1025, 5003, 70001};

Test(top, entries_are_those_of_a_sort) {
    for (int i = 0; i <= (int)weir__isa_best(); i++)
        for (int n_thread = 1; n_thread <= 3; n_thread += 2) {
            weir_backend *be = open_backend(n_thread, (weir_isa)i);
            top_case_rows(be, sizes, sizeof sizes / sizeof *sizes);
            weir__backend_close(be);
        }
}

static void on_cpu(void (*run)(weir_backend *)) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    run(be);
    weir__backend_close(be);
}

Test(top, an_unusable_row_has_no_entry) { on_cpu(top_case_unusable); }
Test(top, refuses_what_its_contract_refuses) { on_cpu(top_case_refusals); }
