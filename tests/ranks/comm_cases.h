#ifndef WEIR_TESTS_RANKS_COMM_CASES_H
#define WEIR_TESTS_RANKS_COMM_CASES_H

#include <stdatomic.h>

#include "kernels/backend.h"

/* What every kind of group must do, for each rank: threads (test_comm.c) and processes (mpi_cases.c). */

/* What ranks found; asserts are made after they have ended. */
typedef struct found {
    atomic_int wrong;
    weir_status status[WEIR_RANKS];
    weir_err err[WEIR_RANKS];
    double seconds[WEIR_RANKS];
} found;

typedef struct comm_case {
    const char *name;
    void (*fn)(void *arg, weir_comm *c); /* arg: found */
} comm_case;

enum { COMM_CASES = 4 };
extern const comm_case comm_cases[COMM_CASES];

/* What every backend's exchanges must do, for each rank's. It has joined a group, with slices of
 * EXCHANGE_FLOATS. */
typedef struct exchange_case {
    const char *name;
    void (*fn)(found *f, weir_backend *be);
} exchange_case;

enum { EXCHANGE_CASES = 4, EXCHANGE_FLOATS = 130 * 520 };
extern const exchange_case exchange_cases[EXCHANGE_CASES];

#endif
