#ifndef WEIR_TESTS_KERNELS_LINEAR_GROUP_CASES_H
#define WEIR_TESTS_KERNELS_LINEAR_GROUP_CASES_H

#include "kernels/backend.h"

/* Products of groups (kernels/linear/linear.h) on any backend; assert. */

/* Rows of each group have the bits of a product with its matrix alone, and nothing else is written: shapes,
 * dtypes, numbers of rows, groups without rows. */
void group_case_bits(weir_backend *be);
void group_case_refusals(weir_backend *be);

#endif
