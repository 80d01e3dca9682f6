#include <criterion/criterion.h>

#include "tests/kernels/moe/moe_cases.h"
#include "tests/kernels/op_fixture.h"

static void on_cpu(void (*run)(weir_backend *)) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    run(be);
    weir__backend_close(be);
}

Test(moe, rows_go_to_their_likeliest_experts) { on_cpu(moe_case_route); }
Test(moe, equal_experts_go_by_id_and_nan_first) { on_cpu(moe_case_ties); }
Test(moe, a_choice_does_not_depend_on_other_rows) { on_cpu(moe_case_independent); }
Test(moe, biases_of_a_router_are_part_of_its_logits) { on_cpu(moe_case_route_biases); }
Test(moe, route_refuses_what_its_contract_refuses) { on_cpu(moe_case_route_refusals); }
Test(moe, sums_are_those_of_a_rows_experts) { on_cpu(moe_case_combine); }
Test(moe, combine_refuses_what_its_contract_refuses) { on_cpu(moe_case_combine_refusals); }

Test(moe, clamped_units_are_within_their_bound) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        moe_case_glu(be);
        weir__backend_close(be);
    }
}

Test(moe, glu_refuses_what_its_contract_refuses) { on_cpu(moe_case_glu_refusals); }
