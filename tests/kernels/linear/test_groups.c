#include <criterion/criterion.h>

#include "tests/kernels/linear/group_cases.h"
#include "tests/kernels/op_fixture.h"

static void everywhere(void (*run)(weir_backend *)) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        run(be);
        weir__backend_close(be);
    }
}

Test(groups, rows_have_the_bits_of_their_matrix_alone) { everywhere(group_case_bits); }
Test(groups, refuses_what_its_contract_refuses) { everywhere(group_case_refusals); }

/* Only where the host can look before anything runs. */
Test(groups, groups_that_are_no_partition_are_refused) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    float x[4] = {1, 2, 3, 4}, y[4] = {0}, w[2] = {1, 1};
    weir_weight one = weir__weight_shape(WEIR_LAYOUT_PANEL, WEIR_DTYPE_F32, 1, 1, false);
    float panels[2 * 16 * 2] = {0};
    panels[0] = w[0], panels[32] = w[1];
    one.data = panels;
    static const int32_t begin[][3] = {{0, 2, 5}, {-1, 2, 4}, {0, 3, 2}, {0, 0, 4}, {0, 1, 4}};
    for (int i = 0; i < 5; i++) {
        const weir_groups g = {.begin = begin[i], .n = 2, .most = i == 3 ? 3 : 4};
        weir_linear a = {
            .x = x, .ldx = 1, .w = &one, .y = y, .ldy = 1, .n_row = 4, .scale = 1.0f, .groups = &g};
        cr_assert_eq(be->op.linear(be, &a), i < 4 ? WEIR_EINVAL : WEIR_OK, "case %d", i);
    }
    weir__backend_close(be);
}
