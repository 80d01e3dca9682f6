#include <criterion/criterion.h>

#include "tests/kernels/linear/group_cases.h"
#include "tests/support/device.h"

static void on_device(void (*run)(weir_backend *)) {
    weir_backend *be = device_open();
    run(be);
    weir__backend_close(be);
}

Test(cuda_groups, rows_have_the_bits_of_their_matrix_alone) { on_device(group_case_bits); }
Test(cuda_groups, refuses_what_its_contract_refuses) { on_device(group_case_refusals); }
