#include <criterion/criterion.h>

#include "tests/kernels/moe/moe_cases.h"
#include "tests/support/device.h"

static void on_device(void (*run)(weir_backend *)) {
    weir_backend *be = device_open();
    run(be);
    weir__backend_close(be);
}

Test(cuda_moe, rows_go_to_their_likeliest_experts) { on_device(moe_case_route); }
Test(cuda_moe, equal_experts_go_by_id_and_nan_first) { on_device(moe_case_ties); }
Test(cuda_moe, a_choice_does_not_depend_on_other_rows) { on_device(moe_case_independent); }
Test(cuda_moe, biases_of_a_router_are_part_of_its_logits) { on_device(moe_case_route_biases); }
Test(cuda_moe, route_refuses_what_its_contract_refuses) { on_device(moe_case_route_refusals); }
Test(cuda_moe, sums_are_those_of_a_rows_experts) { on_device(moe_case_combine); }
Test(cuda_moe, combine_refuses_what_its_contract_refuses) { on_device(moe_case_combine_refusals); }
Test(cuda_moe, clamped_units_are_within_their_bound) { on_device(moe_case_glu); }
Test(cuda_moe, glu_refuses_what_its_contract_refuses) { on_device(moe_case_glu_refusals); }
