/* runner_cases NAME: does one thing that the runner or a sanitizer has to stop (test_wrong.c). Ends with 0 if
 * nobody did. */
#include <stdio.h>
#include <string.h>

#include "tests/runner/cases.h"

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
#define CASE(name) {#name, name},
    WRONG_MAP(CASE)
#undef CASE
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(argv[1], cases[i].name) != 0) continue;
        cases[i].run();
        return 0;
    }
    fprintf(stderr, "usage: runner_cases NAME\n");
    return 0;
}
