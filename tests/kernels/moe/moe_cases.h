#ifndef WEIR_TESTS_KERNELS_MOE_MOE_CASES_H
#define WEIR_TESTS_KERNELS_MOE_MOE_CASES_H

#include "kernels/backend.h"

/* The contracts of kernels/moe, run on any backend; assert. */
void moe_case_route(weir_backend *be);        /* choices, weights and entries against an oracle */
void moe_case_ties(weir_backend *be);         /* equal logits, zeros of both signs, NaN, infinities */
void moe_case_independent(weir_backend *be);  /* a row's choice and weights in other company, dead rows too */
void moe_case_route_biases(weir_backend *be); /* the same as of logits that have them already */
void moe_case_route_refusals(weir_backend *be);
void moe_case_glu(weir_backend *be); /* within its bound; gates past the limits, NaN, empty groups */
void moe_case_glu_refusals(weir_backend *be);
void moe_case_combine(weir_backend *be);
void moe_case_combine_refusals(weir_backend *be);

#endif
