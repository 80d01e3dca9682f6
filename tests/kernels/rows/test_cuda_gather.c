#include <criterion/criterion.h>

#include "tests/kernels/rows/gather_cases.h"
#include "tests/support/device.h"

static void on_device(void (*run)(weir_backend *)) {
    weir_backend *be = device_open();
    run(be);
    weir__backend_close(be);
}

Test(cuda_gather, keys_follow_the_rows_that_are_picked) { on_device(gather_case_keys); }
Test(cuda_gather, results_may_be_left_out) { on_device(gather_case_optional); }
Test(cuda_gather, rows_are_copied_and_nothing_beside_them) { on_device(gather_case_rows); }
Test(cuda_gather, columns_are_put_into_any_order) { on_device(gather_case_orders); }
Test(cuda_gather, a_bias_is_added_to_rows_and_nothing_beside_them) { on_device(gather_case_biases); }
Test(cuda_gather, refuses_what_its_contract_refuses) { on_device(gather_case_refusals); }

/* What the CPU refuses a device cannot see in time: such a row is dead (gather.h). */
Test(cuda_gather, a_live_row_without_a_key_is_dead) {
    weir_backend *be = device_open();
    const int32_t slot[3] = {0, 1, 1}, pos[3] = {-1, 4, 2}, cross[2] = {5, 0};
    int32_t *slot_there = device_put(be, slot, sizeof slot), *pos_there = device_put(be, pos, sizeof pos),
            got[4][3];
    int32_t *cross_there = device_put(be, cross, sizeof cross), *out = device_room(be, sizeof got);
    weir_row_keys a = {.slot = slot_there,
                       .pos = pos_there,
                       .cross_len = cross_there,
                       .n_row = 3,
                       .out_slot = out,
                       .out_pos = out + 3,
                       .n_key = out + 6,
                       .n_src = out + 9};
    cr_assert_eq(be->op.row_keys(be, &a), WEIR_OK);
    device_get(be, got, out, sizeof got);
    for (int i = 0; i < 3; i++)
        cr_assert(got[0][i] == -1 && got[1][i] == 0 && got[2][i] == 1 && got[3][i] == 1, "row %d", i);
    weir__backend_free(be, slot_there), weir__backend_free(be, pos_there);
    weir__backend_free(be, cross_there), weir__backend_free(be, out);
    weir__backend_close(be);
}
