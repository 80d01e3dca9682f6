#ifndef WEIR_TESTS_KERNELS_ROWS_GATHER_CASES_H
#define WEIR_TESTS_KERNELS_ROWS_GATHER_CASES_H

#include "kernels/backend.h"

/* The contracts of kernels/rows/gather.h, run on any backend; assert. */
void gather_case_keys(weir_backend *be);
void gather_case_optional(weir_backend *be);
void gather_case_rows(weir_backend *be);
void gather_case_orders(weir_backend *be); /* columns of rows and of a norm, and nothing beside them */
void gather_case_refusals(weir_backend *be);
void gather_case_biases(weir_backend *be); /* one vector added to every row, and nothing beside it */

#endif
