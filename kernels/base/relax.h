#ifndef WEIR_KERNELS_BASE_RELAX_H
#define WEIR_KERNELS_BASE_RELAX_H

/* Turns of a waiting loop before it sleeps. Longer than the serial parts of a decode step (tens of
 * microseconds), shorter than anything a user would call idle. A wake-up from sleep costs about 5 us on bare
 * metal and 30 us in a virtual machine. */
enum { WEIR_SPINS = 8000 };

/* One turn: leaves the core's other thread its share. */
static inline void weir__cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif /* WEIR_KERNELS_BASE_RELAX_H */
