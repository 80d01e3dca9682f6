#ifndef WEIR_TESTS_RUNNER_CASES_H
#define WEIR_TESTS_RUNNER_CASES_H

#ifdef __cplusplus
extern "C" {
#endif

/* Kernels for the runner's own tests (cases_*.cu). A right_* runs kernels whose answer is known and counts
 * what differs; a wrong_* does what the runner has to find, and ends there. */
long right_shuffles(void);
long right_votes(void);
long right_reductions(void);
long right_partial_masks(void);
long right_partial_warp(void);
long right_barriers(void);
long right_shared_memory(void);
long right_grid(void);
long right_atomics(void);
long right_numbers(void);
long right_ldmatrix(void);
long right_mma(void);
long right_mma_bytes(void);
long right_copies(void);
long right_team_barrier(void);
long right_dependent_launch(void);
long right_early_read(void);
long right_graph(void);
long right_while(void);
long right_memory_is_poisoned(void);
long right_product(void);
long right_peers(void);

int sees_copy_not_waited_for(void);   /* 1 if the kernel read what had not landed */
long sees_peers_that_overwrite(void); /* numbers that a device had not read before its peer stored others */

/* What the runner stops, or a sanitizer; then races for ThreadSanitizer. Each ends the process
 * (runner_cases). */
/* clang-format off */
#define WRONG_MAP(X)                                                                              \
    X(wrong_deadlock) X(wrong_divergent_barrier) X(wrong_lane_outside_its_mask)                   \
    X(wrong_exited_lane) X(wrong_warp_mismatch) X(wrong_endless_spin) X(wrong_endless_block_spin) \
    X(wrong_endless_while) X(wrong_exit_with_copies) X(wrong_alignment) X(wrong_no_grid_wait)     \
    X(wrong_shared_overrun) X(wrong_dynamic_overrun) X(wrong_device_overrun)                      \
    X(wrong_device_overread) X(wrong_freed) X(wrong_host_read) X(wrong_stack) X(wrong_trap)       \
    X(race_missing_barrier) X(race_early_copy) X(race_shuffle_orders_nothing)                     \
    X(race_between_blocks) X(race_before_grid_wait) X(race_write_before_grid_wait)                \
    X(race_let_go_before_grid_wait) X(race_host_does_not_wait) X(race_pinned_source_reused)       \
    X(race_team_barrier_without_release) X(race_counted_before_it_is_written)                     \
    X(wrong_foreign_memory) X(wrong_flag_of_one_device) X(wrong_devices_that_wait_for_each_other) \
    X(race_peers_without_release)
/* clang-format on */
#define WRONG_CASE(name) void name(void);
WRONG_MAP(WRONG_CASE)
#undef WRONG_CASE

/* What the runtime refuses: cudaError_t each. */
int refused_block_size(void);
int refused_dynamic_memory(void);
int refused_team(void);
int refused_malloc_while_capturing(void);
int refused_wait_while_capturing(void);
int refused_pageable_copy_while_capturing(void);
int refused_copy_past_the_end(void);
int refused_direction(void);
int first_malloc_that_fails(int n); /* which of 5 fails with runner_fail_malloc(n); 0: none */
int launches_until_broken(int n);   /* with runner_fail_launch(n) */
int device_count(int *n);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_TESTS_RUNNER_CASES_H */
