#ifndef WEIR_TESTS_SUPPORT_COMPARE_H
#define WEIR_TESTS_SUPPORT_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Three questions to every output: finite exactly where the oracle is; each element within atol + rtol
 * |want|; NMSE of the whole under nmse. NaN and Inf are looked at by their bits first. On failure fills msg
 * with index, got, want and returns false. */
bool close_f32(const float *got, const double *want, size_t n, double atol, double rtol, double nmse,
               char *msg, size_t cap);
bool same_bits_f32(const float *got, const float *want, size_t n, char *msg, size_t cap);

/* Guard zones: GUARD floats of a NaN pattern before and after a buffer of n floats. */
enum { GUARD = 64 };
float *guarded_new(size_t n); /* points at the first of n poisoned floats */
bool guarded_intact(const float *p, size_t n);
void guarded_free(float *p);

/* splitmix64: test data only. */
uint64_t rng_u64(uint64_t *state);
float rng_uniform(uint64_t *state, float lo, float hi);
float rng_normal(uint64_t *state);

#endif
