/* Fewer pages than sessions would like, on a device: launches of many blocks take theirs before they begin,
 * and what is read again after a suspension has the bits of the recorded block. */
#include <criterion/criterion.h>

#include "tests/deck/crowd.h"
#include "tests/support/device.h"

static void same(crowd c, int n, int n_seed) {
    weir__backend_close(device_open()); /* skips, or fails, where there is none */
    c.device = "cuda:0";
    crowd_same_as_alone(&c, n, n_seed);
}

Test(cuda_pages, encoders_and_decoders) {
    same((crowd){.n_parallel = 2, .pages = 5, .ctx_size = 140, .pair = CROWD_SMALL, .limit = 12}, 7, 1);
}
Test(cuda_pages, decoders) {
    same((crowd){.n_parallel = 2, .pages = 4, .ctx_size = 224, .pair = 2, .limit = 12}, 7, 1);
}
Test(cuda_pages, encoders_with_prefixes) {
    same((crowd){.n_parallel = 2,
                 .pages = 5,
                 .ctx_size = 140,
                 .pair = CROWD_SMALL,
                 .limit = 12,
                 .prefix_cache = true},
         7, 1);
}
Test(cuda_pages, decoders_with_windows) {
    same((crowd){.n_parallel = 2, .pages = 4, .ctx_size = 224, .pair = 0, .limit = 12}, 7, 1);
}
