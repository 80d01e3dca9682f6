#ifndef WEIR_TESTS_RUNNER_FIBER_H
#define WEIR_TESTS_RUNNER_FIBER_H

/* Stacks that take turns on one OS thread, known to the sanitizers. Nothing here orders memory for
 * ThreadSanitizer: that is what order_release and order_acquire are for, at the points where CUDA promises
 * it. */
#include <cstddef>

namespace runner {

struct fiber {
    void *sp = nullptr;    /* saved stack pointer, or the ucontext */
    char *stack = nullptr; /* lowest usable byte; NULL: the host's own stack */
    size_t size = 0;
    size_t color = 0; /* unused bytes at the top: or all stacks would want the same lines of the cache */
    void (*entry)() = nullptr; /* where its next turn begins; its stack is not touched before that */
    void *fake = nullptr;      /* ASan's */
    void *tsan = nullptr;      /* TSan's */
    bool over = false;         /* has run to its end: ASan may forget its fake frames */
};

void fiber_make(fiber *f);                   /* never freed: reused by every block */
void fiber_start(fiber *f, void (*entry)()); /* from the beginning at its next turn; entry never returns */
void fiber_switch(fiber *from, fiber *to);
void fiber_entered();            /* first call of an entry */
void fiber_host(fiber *host);    /* the calling OS thread as a fiber */
void fiber_host_is(fiber *host); /* it again, once another OS thread has run */

/* The guard page of f's stack, for reports. */
bool fiber_guards(const fiber *f, const void *address);

#ifdef RUNNER_TSAN
extern "C" void __tsan_acquire(void *p);
extern "C" void __tsan_release(void *p);
extern "C" void __tsan_mutex_destroy(void *p, unsigned flags);
inline void order_release(void *p) { __tsan_release(p); }
inline void order_acquire(void *p) { __tsan_acquire(p); }
inline void order_forget(void *p) {
    __tsan_mutex_destroy(p, 0);
} /* what was released to p orders nobody any
                                                                     more */
#else
inline void order_release(void *) {}
inline void order_acquire(void *) {}
inline void order_forget(void *) {}
#endif

} // namespace runner

#endif /* WEIR_TESTS_RUNNER_FIBER_H */
