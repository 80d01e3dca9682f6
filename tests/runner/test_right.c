/* What kernels may rely on, in the schedule that WEIR_RUNNER_ORDER and WEIR_RUNNER_CP say. */
#include <criterion/criterion.h>

#include "tests/runner/cases.h"

#define RIGHT(name) \
    Test(right, name) { cr_assert_eq(right_##name(), 0); }

RIGHT(shuffles)
RIGHT(votes)
RIGHT(reductions)
RIGHT(partial_masks)
RIGHT(partial_warp)
RIGHT(barriers)
RIGHT(shared_memory)
RIGHT(grid)
RIGHT(atomics)
RIGHT(numbers)
RIGHT(ldmatrix)
RIGHT(mma)
RIGHT(mma_bytes)
RIGHT(memory_is_poisoned)
RIGHT(copies)
RIGHT(team_barrier)
RIGHT(dependent_launch)
RIGHT(early_read)
RIGHT(graph)
RIGHT(while)
RIGHT(product)
RIGHT(peers)
