#ifndef WEIR_TESTS_RUNNER_CASES_H
#define WEIR_TESTS_RUNNER_CASES_H

#ifdef __cplusplus
extern "C" {
#endif

/* Kernels for the runner's own tests (cases_*.cu). A right_* runs kernels whose answer is known and counts what differs;
 * a wrong_* does what the runner has to find, and ends there. */
long right_shuffles(void);
long right_votes(void);
long right_reductions(void);
long right_partial_masks(void);
long right_partial_warp(void);
long right_barriers(void);
long right_named_barriers(void);
long right_shared_memory(void);
long right_grid(void);
long right_atomics(void);
long right_numbers(void);
long right_ldmatrix(void);
long right_mma(void);
long right_copies(void);
long right_bulk_pipeline(void);
long right_team_barrier(void);
long right_dependent_launch(void);
long right_graph(void);
long right_while(void);
long right_memory_is_poisoned(void);
long right_product(void);

void wrong_deadlock(void);
void wrong_divergent_barrier(void);
void wrong_lane_outside_its_mask(void);
void wrong_exited_lane(void);
void wrong_warp_mismatch(void);
void wrong_endless_spin(void);
void wrong_endless_while(void);
void wrong_copy_not_waited_for(void);   /* late: the answer is poison; exits 0 if the poison was seen */
void wrong_exit_with_copies(void);
void wrong_alignment(void);
void wrong_no_grid_wait(void);
void wrong_mbarrier(void);
void wrong_shared_overrun(void);
void wrong_dynamic_overrun(void);
void wrong_device_overrun(void);
void wrong_device_overread(void);
void wrong_freed(void);
void wrong_host_read(void);
void wrong_stack(void);
void wrong_trap(void);

/* Races for ThreadSanitizer. */
void race_missing_barrier(void);
void race_early_copy(void);
void race_shuffle_orders_nothing(void);
void race_between_blocks(void);
void race_before_grid_wait(void);
void race_host_does_not_wait(void);
void race_missing_mbarrier_wait(void);

/* What the runtime refuses: cudaError_t each. */
int refused_block_size(void);
int refused_dynamic_memory(void);
int refused_team(void);
int refused_malloc_while_capturing(void);
int refused_wait_while_capturing(void);
int refused_pageable_copy_while_capturing(void);
int refused_copy_past_the_end(void);
int refused_direction(void);
int first_malloc_that_fails(int n);     /* which of 5 fails with runner_fail_malloc(n); 0: none */
int launches_until_broken(int n);       /* with runner_fail_launch(n) */
int device_count(int *n);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_TESTS_RUNNER_CASES_H */
