/* Directories and engines of matrices whose inputs are in act-order. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "tests/host/int4_golden.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* Orders are made when a directory is opened, and kept until it is closed. */
Test(int4_order, every_failing_allocation_of_a_directory_with_orders_is_reported) {
    char dir[256];
    int4_dir(dir, INT4_ACT_ORDER);
    weir_status s = WEIR_ENOMEM;
    for (long fail = 1; s != WEIR_OK; fail++) {
        weir_checkpoint c;
        weir_err err = {""};
        alloc_install(fail);
        s = weir__checkpoint_open(&c, dir, true, &err);
        if (s == WEIR_OK) weir__checkpoint_close(&c);
        cr_assert_eq(alloc_live(), 0, "allocation %ld", fail);
        alloc_uninstall();
        cr_assert(s == WEIR_OK || (s == WEIR_ENOMEM && err_is_line(&err, "no memory")), "allocation %ld: %s",
                  fail, err.text);
    }
}

/* Rows of a block, which are all accepted, have the bits that they have alone. */
Test(int4_order, blocks_are_the_verifier_alone) {
    for (int i = INT4_ACT_ORDER; i < INT4_MODELS; i++) {
        int32_t alone[INT4_NEW], blocks[INT4_NEW];
        int4_greedy(i, -1, "cpu", 1, alone);
        cr_expect_geq(int4_greedy(i, i, "cpu", 1, blocks), INT4_NEW / 2);
        cr_expect(memcmp(alone, blocks, sizeof alone) == 0, "%s", int4_models[i].name);
    }
}

/* The inputs of o and down would be everywhere; a drafter in act-order is whole on each rank. */
Test(int4_order, ranks_refuse_a_verifier_before_they_load_it) {
    enum { PLAIN = 2 }; /* of the same vocabulary */
    int32_t one[INT4_NEW], two[INT4_NEW];
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_expect_eq(int4_open_pair(&e, INT4_ACT_ORDER, -1, "cpu", NULL, 2, &err), WEIR_ENOTSUP);
    cr_expect(err_is_line(&err, "layers.0.self_attn.o_proj.weight: its inputs are in act-order"), "%s",
              err.text);
    cr_expect(strstr(err.text, "which -tp cannot share out: run it without, a drafter with --draft-tp 1"),
              "%s", err.text);
    int4_greedy(PLAIN, INT4_ACT_ORDER, "cpu", 1, one);
    int4_greedy(PLAIN, INT4_ACT_ORDER, "cpu", 2, two);
    cr_expect(memcmp(one, two, sizeof one) == 0);
}
