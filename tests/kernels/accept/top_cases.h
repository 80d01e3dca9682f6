#ifndef WEIR_TESTS_KERNELS_ACCEPT_TOP_CASES_H
#define WEIR_TESTS_KERNELS_ACCEPT_TOP_CASES_H

#include "kernels/backend.h"

/* The contract of kernels/accept/top.h, run on any backend; assert. */
void top_case_rows(weir_backend *be, const int *n_vocab, int n); /* against a sort */
void top_case_unusable(weir_backend *be);
void top_case_refusals(weir_backend *be);

#endif
