#ifndef WEIR_TESTS_KERNELS_LINEAR_GROUP_FIXTURE_H
#define WEIR_TESTS_KERNELS_LINEAR_GROUP_FIXTURE_H

#include "kernels/backend.h"
#include "tests/kernels/linear/linear_fixture.h"

/* A product of groups (kernels/linear/linear.h) and its data on a backend. */
enum { GROUPS = 40 };

/* Rows of groups: many are empty, as experts are. before: rows of no group, as those of another rank's. */
typedef struct deal {
    int32_t n, rows[GROUPS], before;
} deal;

typedef struct grouped {
    weir_backend *be;
    product p;
    int32_t n, begin[GROUPS + 1];
    matrix gate[GROUPS], up[GROUPS];
    weir_weight w; /* of the first; the others lie after it */
    float *x, *norm, *y0;
    float *x_there, *norm_there, *y_there;
    int32_t *begin_there;
    int64_t n_row, ldx, ldy, most;
    float *want; /* (n_row, ldy): rows of each group by its matrix alone, the others those of y0 */
} grouped;

/* Asserts. want is made of products of up to 8 rows on a device, of a group's rows on a CPU. */
grouped grouped_new(weir_backend *be, product p, const deal *d, uint64_t *rng);
void grouped_free(grouped *g);
/* The whole product, n_all as in weir_groups: asserts the bits of want. The device's kernels are counted on
 * the runner (runner_api_count). */
void grouped_check(const grouped *g, int32_t n_all);

#endif
