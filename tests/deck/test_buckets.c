/* Seats of the buckets that blocks are captured for. */
#include <criterion/criterion.h>

#include "host/deck/block_program.h"

/* Any number of sessions fits, with fewer than 8 seats to spare above 16 and fewer than half of them
 * below. */
Test(buckets, few_seats_are_to_spare) {
    for (int n = 1; n <= 1024; n++) {
        const int size = weir__bucket_size(n);
        const int32_t seats = weir__bucket_seats(size);
        cr_assert(size >= 0 && size < WEIR_LOOP_SIZES, "%d sessions: size %d", n, size);
        cr_assert(seats >= n && seats - n < (n > 16 ? 8 : n), "%d sessions: %d seats", n, (int)seats);
        cr_assert(n <= 16 ? (seats & (seats - 1)) == 0 : seats % 8 == 0, "%d sessions: %d", n, (int)seats);
        cr_assert_eq(weir__bucket_size(seats), size, "%d seats are another bucket than their own",
                     (int)seats);
    }
    for (int i = 1; i < WEIR_LOOP_SIZES; i++) cr_assert_gt(weir__bucket_seats(i), weir__bucket_seats(i - 1));
    cr_assert_eq(weir__bucket_seats(WEIR_LOOP_SIZES - 1), 1024);
}
