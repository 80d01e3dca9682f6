#include <criterion/criterion.h>

#include "tests/kernels/op_fixture.h"
#include "tests/kernels/rows/gather_cases.h"

static void on_cpu(void (*run)(weir_backend *)) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    run(be);
    weir__backend_close(be);
}

Test(gather, keys_follow_the_rows_that_are_picked) { on_cpu(gather_case_keys); }
Test(gather, results_may_be_left_out) { on_cpu(gather_case_optional); }
Test(gather, rows_are_copied_and_nothing_beside_them) { on_cpu(gather_case_rows); }
Test(gather, columns_are_put_into_any_order) {
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        weir_backend *be = open_backend(n_thread, weir__isa_best());
        gather_case_orders(be);
        weir__backend_close(be);
    }
}
Test(gather, a_bias_is_added_to_rows_and_nothing_beside_them) { on_cpu(gather_case_biases); }
Test(gather, refuses_what_its_contract_refuses) { on_cpu(gather_case_refusals); }

/* Only where the host can look before anything runs. */
Test(gather, a_live_row_without_a_key_is_an_error) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    const int32_t slot[2] = {0, 0}, pos[2] = {3, -1}, good[2] = {3, 0}, none[1] = {0};
    int32_t out[2] = {-9, -9};
    weir_row_keys a = {.slot = slot, .pos = pos, .n_row = 2, .n_key = out};
    cr_assert_eq(be->op.row_keys(be, &a), WEIR_EINVAL);
    a.pos = good, a.cross_len = none;
    cr_assert_eq(be->op.row_keys(be, &a), WEIR_EINVAL);
    cr_assert(out[0] == -9 && out[1] == -9, "written in spite of it");
    const int32_t first[1] = {0}, second[1] = {1}; /* the other row is not asked for */
    a = (weir_row_keys){.slot = slot, .pos = pos, .index = first, .n_row = 1, .n_key = out};
    cr_assert(be->op.row_keys(be, &a) == WEIR_OK && out[0] == 4);
    a.index = second;
    cr_assert_eq(be->op.row_keys(be, &a), WEIR_EINVAL);
    const int32_t backwards[2] = {-1, 3};
    a.pos = backwards;
    cr_assert(be->op.row_keys(be, &a) == WEIR_OK && out[0] == 4);
    weir__backend_close(be);
}
