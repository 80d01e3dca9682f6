#ifndef WEIR_KERNELS_BASE_INTERRUPT_H
#define WEIR_KERNELS_BASE_INTERRUPT_H

#include <stdbool.h>

/* Whether long work should be given up: called often, between units of work, by the thread that runs it (by
 * several if a pool does). Once true it should stay true until the call has returned. All zero: never
 * interrupted. */
typedef struct weir_interrupt {
    bool (*asked)(void *ud);
    void *ud;
} weir_interrupt;

static inline bool weir_interrupted(const weir_interrupt *i) { return i->asked && i->asked(i->ud); }

#endif /* WEIR_KERNELS_BASE_INTERRUPT_H */
