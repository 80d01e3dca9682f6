#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/costs.h"

/* Tests name what they read relative to the root of the tree, and may be started from any folder. Before
 * main(), since Criterion's processes inherit the folder from it. The same for the environment of programs
 * that they start. */
__attribute__((constructor)) static void enter_root(void) {
    if (chdir(WEIR_TEST_ROOT) == 0 && setenv("WEIR_COSTS", TEST_COSTS, 0) == 0) return;
    perror(WEIR_TEST_ROOT);
    exit(1);
}
