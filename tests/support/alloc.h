#ifndef WEIR_TESTS_SUPPORT_ALLOC_H
#define WEIR_TESTS_SUPPORT_ALLOC_H

/* A counting allocator for weir_set_allocator: the allocation number `fail_at` (from 1) and all later ones
 * fail; 0 = none. */
void alloc_install(long fail_at);
void alloc_uninstall(void);
void alloc_fail_after(long n); /* allocation number n + 1 since install and all later ones fail */
void alloc_fail_only(long n);  /* allocation number n + 1 since install alone fails */
long alloc_count(void);        /* allocations asked for since install */
long alloc_live(void);         /* not freed yet */

#endif
