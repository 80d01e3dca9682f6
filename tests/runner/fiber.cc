#include "tests/runner/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#ifdef RUNNER_ASAN
extern "C" void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size);
extern "C" void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size);
#endif
#ifdef RUNNER_TSAN
extern "C" void *__tsan_get_current_fiber();
extern "C" void *__tsan_create_fiber(unsigned flags);
extern "C" void __tsan_switch_to_fiber(void *fiber, unsigned flags);

/* Fibers are threads that never end to TSan: it would sleep a second at exit for each test. A short history,
 * because every fiber has one. */
extern "C" const char *__tsan_default_options();
extern "C" const char *__tsan_default_options() { return "atexit_sleep_ms=0:history_size=1"; }
#endif

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace runner {

/* Kernels keep little on the stack; instrumented ones more. Pages are touched as they are needed. */
enum { STACK = 256 << 10, GUARD = 64 << 10 };

static fiber *came_from, *running_host;
static fiber *entering;

#if defined(__x86_64__)
/* Saves what the ABI makes the callee's, swaps stacks, and returns on the other one. ucontext would make two
 * system calls a switch for the signal mask. */
extern "C" void weir_runner_switch(void **save, void *load);
asm(R"(
    .text
    .p2align 4
    .globl weir_runner_switch
    .type weir_runner_switch, @function
weir_runner_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size weir_runner_switch, .-weir_runner_switch
)");

static void stack_prepare(fiber *f, void (*entry)()) {
    enum { REGISTERS = 6 };
    void **top = reinterpret_cast<void **>(f->stack + f->size - f->color) - 4;
    top[1] =
        nullptr; /* a return address for entry, which it never uses; keeps the stack 16-byte aligned as after
                    a call */
    top[0] = reinterpret_cast<void *>(entry);
    for (int i = 1; i <= REGISTERS; i++) top[-i] = nullptr;
    f->sp = top - REGISTERS;
}

static void stack_switch(fiber *from, fiber *to) { weir_runner_switch(&from->sp, to->sp); }
#else
static ucontext_t *context(fiber *f) {
    if (!f->sp) f->sp = calloc(1, sizeof(ucontext_t));
    return static_cast<ucontext_t *>(f->sp);
}

static void stack_prepare(fiber *f, void (*entry)()) {
    ucontext_t *c = context(f);
    getcontext(c);
    c->uc_stack.ss_sp = f->stack;
    c->uc_stack.ss_size = f->size;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
}

static void stack_switch(fiber *from, fiber *to) { swapcontext(context(from), context(to)); }
#endif

void fiber_make(fiber *f) {
    *f = fiber{};
    void *p = mmap(nullptr, STACK + GUARD, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p, GUARD, PROT_NONE) != 0) {
        fprintf(stderr, "runner: no stack for another CUDA thread\n");
        abort();
    }
    f->stack = static_cast<char *>(p) + GUARD;
    f->size = STACK;
    static size_t made;
    f->color = 64 * (made++ % 61);
#ifdef RUNNER_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
}

void fiber_start(fiber *f, void (*entry)()) {
    f->over = false;
    f->fake = nullptr;
    f->entry = entry;
}

void fiber_host_is(fiber *host) { running_host = host; }

void fiber_host(fiber *host) {
    fiber_host_is(host);
#ifdef RUNNER_TSAN
    host->tsan = __tsan_get_current_fiber();
#endif
}

#ifdef RUNNER_ASAN
/* ASan tells the bounds of the stack that was left: the only way to know the host's. */
static void arrived(fiber *f) {
    const void *bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(f->fake, &bottom, &size);
    if (came_from && came_from == running_host) {
        came_from->stack = const_cast<char *>(static_cast<const char *>(bottom));
        came_from->size = size;
    }
}
#endif

void fiber_switch(fiber *from, fiber *to) {
    if (from == to) return;
    came_from = from;
    entering = to;
    if (to->entry) {
        stack_prepare(to, to->entry);
        to->entry = nullptr;
    }
#ifdef RUNNER_TSAN
    __tsan_switch_to_fiber(to->tsan, 1); /* 1: no synchronisation */
#endif
#ifdef RUNNER_ASAN
    __sanitizer_start_switch_fiber(from->over ? nullptr : &from->fake, to->stack, to->size);
#endif
    stack_switch(from, to);
#ifdef RUNNER_ASAN
    arrived(from); /* back on from's stack */
#endif
}

void fiber_entered() {
#ifdef RUNNER_ASAN
    arrived(entering);
#endif
}

bool fiber_guards(const fiber *f, const void *address) {
    const char *p = static_cast<const char *>(address);
    return f && f->stack && p < f->stack && p >= f->stack - GUARD;
}

} // namespace runner
