/* Attention that reads the cache before the op ahead of it has ended, on a device: the bits of one that waits
 * for it. */
#include <criterion/criterion.h>

#include "tests/kernels/attention/early_fixture.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

/* First two for ThreadSanitizer on the runner, which sees races of neighbouring blocks: facts of rows,
 * product or rotation, and attention are a block each.
 *
 * Then own positions that begin at, in and across 8 positions, a page and a split; dead rows; query heads in
 * several tiles, of which each sees what is own to another; windows; pools and widths that are not staged;
 * more rows than are looked through. */
static const early_case CASES[] = {
    {EARLY_CROSS, 1, 1, 16, 1, 2, 0, {20, 9}, WEIR_DTYPE_BF16},
    {EARLY_ROPE, 2, 1, 16, 1, 1, 0, {20}, WEIR_DTYPE_BF16},
    {EARLY_PRODUCT, 2, 2, 64, 6, 3, 0, {131, 70, 66}, WEIR_DTYPE_BF16},
    {EARLY_CROSS, 2, 2, 64, 6, 2, 0, {300, 7}, WEIR_DTYPE_BF16},
    {EARLY_ROPE, 8, 1, 24, 3, 2, 0, {130, 9}, WEIR_DTYPE_BF16},
    {EARLY_PRODUCT, 1, 1, 16, 1, 4, 0, {1, 64, 65, 129}, WEIR_DTYPE_BF16},
    {EARLY_APPEND, 2, 2, 64, 2, 2, 0, {70, 30}, WEIR_DTYPE_BF16},
    {EARLY_OTHER, 2, 2, 64, 2, 2, 0, {70, 30}, WEIR_DTYPE_BF16},
    {EARLY_PRODUCT, 4, 2, 64, 1, 3, 0, {72, 128, 250}, WEIR_DTYPE_BF16},
    {EARLY_PRODUCT, 2, 1, 42, 4, 3, 0, {3, 4, 70}, WEIR_DTYPE_BF16},
    {EARLY_ROPE, 2, 2, 80, 2, 3, 50, {300, 61, 66}, WEIR_DTYPE_BF16},
    {EARLY_ROPE, 2, 1, 256, 6, 1, 0, {133}, WEIR_DTYPE_BF16},
    {EARLY_PRODUCT, 2, 2, 5, 2, 2, 0, {140, 20}, WEIR_DTYPE_BF16},
    {EARLY_PRODUCT, 2, 2, 64, 6, 2, 0, {131, 70}, WEIR_DTYPE_F32},
    {EARLY_CROSS, 4, 1, 24, 1, 3, 0, {64, 1, 200}, WEIR_DTYPE_F32},
    {EARLY_PRODUCT, 1, 1, 16, 6, 6, 0, {70, 71, 72, 73, 74, 75}, WEIR_DTYPE_BF16},
    {EARLY_ROPE, 1, 1, 16, 6, 6, 0, {70, 71, 72, 73, 74, 75}, WEIR_DTYPE_BF16},
};

Test(cuda_early, attention_has_the_bits_of_one_that_waits) {
    weir_backend *be = device_open();
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (build_is_tsan() && i > 7) continue;
        guarded_free(early_run(be, &CASES[i], 501 + i, false));
    }
    weir__backend_close(be);
}
