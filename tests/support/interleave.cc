#include "tests/support/interleave.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/runner/fiber.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace {

enum { MAX_POINT = 4096, N_TRACE = 48, ENDED = INTERLEAVE_THREADS };

/* What a thread waits for; a thread that waits for nothing can go on. */
enum waits { NOTHING, MUTEX, COND, THREAD, END };

struct thread {
    runner::fiber fiber;
    void *(*fn)(void *);
    void *arg;
    waits waits_for;
    interleave_mutex *mutex; /* MUTEX, COND: to be had before it goes on */
    interleave_cond *cond;
    int joins;
    volatile void *late; /* a store that others do not see yet */
    unsigned char value[8];
    size_t bytes;
};

/* One choice of the order that runs: option `taken` of `n`. */
struct choice {
    int taken, n;
};

struct event {
    int who;
    const char *what;
};

/* The order that runs, and the choices that led to it. */
struct exploration {
    void (*body)();
    thread thread_of[INTERLEAVE_THREADS];
    runner::fiber host;
    int n_thread, running;
    choice choices[MAX_POINT];
    int n_choice, n_replay, left; /* left: preemptions */
    event trace[N_TRACE];
    long n_event;
    interleave_result *result;
};

exploration x;
bool fibers_made;

/* A failed order leaves its frames behind, and to AddressSanitizer their red zones. */
void clean_stacks() {
#ifdef __SANITIZE_ADDRESS__
    for (thread &t : x.thread_of) __asan_unpoison_memory_region(t.fiber.stack, t.fiber.size);
#endif
}

thread &self() { return x.thread_of[x.running]; }

/* ---- failing ---- */

[[noreturn]] void leave() {
    self().fiber.over = true;
    runner::fiber_switch(&self().fiber, &x.host);
    abort(); /* an order that has ended does not go on */
}

[[noreturn]] void fail(const char *what) {
    interleave_result *r = x.result;
    r->failed = true;
    int n = snprintf(r->why, sizeof r->why, "%s; the last points:\n", what);
    for (long i = x.n_event < N_TRACE ? 0 : x.n_event - N_TRACE; i < x.n_event; i++) {
        const event &e = x.trace[i % N_TRACE];
        if (n < static_cast<int>(sizeof r->why))
            n += snprintf(r->why + n, sizeof r->why - static_cast<size_t>(n), "  thread %d  %s\n", e.who,
                          e.what);
    }
    leave();
}

/* ---- choosing ---- */

/* The option of n to take here: that of the last order up to the choice that changed, and then the first. */
int choose(int n) {
    if (x.n_choice == MAX_POINT) fail("no end");
    choice &c = x.choices[x.n_choice];
    if (x.n_choice >= x.n_replay) c = {0, n};
    if (c.n != n) {
        fprintf(stderr, "interleave: the body does not depend on the order alone\n");
        abort();
    }
    x.n_choice++;
    return c.taken;
}

bool ready(const thread &t) {
    switch (t.waits_for) {
    case NOTHING: return true;
    case MUTEX: return t.mutex->owner == 0;
    case THREAD: return x.thread_of[t.joins].waits_for == END;
    case COND:
    case END: return false;
    }
    return false;
}

/* The next thread to run. Its option 0 costs nothing: the running one, where it can go on. */
int next_thread() {
    int option[2 * INTERLEAVE_THREADS], n = 0;
    const bool goes_on = ready(self());
    if (goes_on) option[n++] = x.running;
    for (int i = 0; i < x.n_thread; i++)
        if (i != x.running && ready(x.thread_of[i]) && (!goes_on || x.left > 0)) option[n++] = i;
    const int n_ready = n;
    for (int i = 0; i < x.n_thread; i++) /* wake-ups that nobody asked for */
        if (x.thread_of[i].waits_for == COND && x.left > 0 && n_ready > 0) option[n++] = i;
    if (n == 0) return ENDED;
    const int at = n == 1 ? 0 : choose(n), to = option[at];
    if (at >= n_ready) {
        x.thread_of[to].waits_for = MUTEX;
        x.left--;
        return next_thread();
    }
    if (goes_on && to != x.running) x.left--;
    return to;
}

/* Others' turns, then this thread has what it waits for. */
void turn() {
    const int to = next_thread();
    if (to == ENDED) {
        bool all = true;
        for (int i = 0; i < x.n_thread; i++) all = all && x.thread_of[i].waits_for == END;
        if (!all) fail("no thread can go on");
        leave();
    }
    thread &from = self();
    x.running = to;
    runner::fiber_switch(&from.fiber, &x.thread_of[to].fiber);
}

void take_mutex() {
    thread &t = self();
    t.mutex->owner = x.running + 1;
    t.waits_for = NOTHING;
}

/* ---- stores that others see late ---- */

void drain() {
    thread &t = self();
    if (t.late) memcpy(const_cast<void *>(t.late), t.value, t.bytes);
    t.late = nullptr;
}

void ordered_point(const char *what) {
    interleave_point(what);
    drain();
}

/* ---- one order ---- */

void thread_main() {
    runner::fiber_entered();
    thread &t = self();
    (void)t.fn(t.arg);
    drain();
    t.waits_for = END;
    t.fiber.over = true;
    turn();
    abort();
}

void *body_main(void *) {
    x.body();
    for (int i = 1; i < x.n_thread; i++)
        if (x.thread_of[i].waits_for != END) fail("a thread is left");
    return nullptr;
}

void run_order(int max_preemption) {
    x.n_thread = x.running = 0;
    x.n_choice = 0;
    x.left = max_preemption;
    x.n_event = 0;
    (void)interleave_create(body_main, nullptr);
    runner::fiber_switch(&x.host, &x.thread_of[0].fiber);
    x.result->n_order++;
    x.result->n_point += x.n_event;
}

/* The last choice that has an option left takes it; false where none has. */
bool next_order() {
    for (x.n_replay = x.n_choice; x.n_replay > 0; x.n_replay--) {
        choice &c = x.choices[x.n_replay - 1];
        if (++c.taken < c.n) return true;
    }
    return false;
}

} // namespace

/* ---- the interface ---- */

interleave_result interleave(void (*body)(void), int max_preemption, long max_order) {
    interleave_result r = {};
    if (!fibers_made)
        for (thread &t : x.thread_of) runner::fiber_make(&t.fiber);
    fibers_made = true;
    clean_stacks();
    runner::fiber_host(&x.host);
    x.body = body;
    x.result = &r;
    x.n_replay = 0;
    do {
        if (r.n_order == max_order) {
            r.cut = true;
            return r;
        }
        run_order(max_preemption);
    } while (!r.failed && next_order());
    return r;
}

void interleave_point(const char *what) {
    turn();
    x.trace[x.n_event++ % N_TRACE] = {x.running, what};
}

void interleave_check(bool good, const char *what) {
    if (!good) fail(what);
}

void interleave_load(const volatile void *p, const char *what) {
    if (self().late == p) drain(); /* a thread sees its own stores */
    interleave_point(what);
}

void interleave_store(volatile void *p, const void *value, size_t bytes, bool ordered, const char *what) {
    ordered_point(what);
    thread &t = self();
    t.late = p;
    t.bytes = bytes;
    memcpy(t.value, value, bytes);
    if (!ordered && x.left > 0 && choose(2) == 1) {
        x.left--;
        return;
    }
    drain();
}

void interleave_fence(const char *what) { ordered_point(what); }

int interleave_create(void *(*fn)(void *), void *arg) {
    if (x.n_thread == INTERLEAVE_THREADS) fail("too many threads");
    thread &t = x.thread_of[x.n_thread];
    const runner::fiber fiber = t.fiber;
    t = thread{};
    t.fiber = fiber;
    t.fn = fn;
    t.arg = arg;
    runner::fiber_start(&t.fiber, thread_main);
    return x.n_thread++;
}

void interleave_join(int other) {
    ordered_point("join");
    self().joins = other;
    self().waits_for = THREAD;
    turn();
    self().waits_for = NOTHING;
}

void interleave_lock(interleave_mutex *m, const char *what) {
    ordered_point(what);
    self().mutex = m;
    self().waits_for = MUTEX;
    if (m->owner != 0) turn();
    take_mutex();
}

void interleave_unlock(interleave_mutex *m, const char *what) {
    drain();
    interleave_check(m->owner == x.running + 1, what);
    m->owner = 0; /* no point: nobody sees it before this thread's next one */
}

void interleave_wait(interleave_cond *c, interleave_mutex *m, const char *what) {
    ordered_point(what);
    interleave_check(m->owner == x.running + 1, what);
    m->owner = 0;
    thread &t = self();
    t.cond = c;
    t.mutex = m;
    t.waits_for = COND;
    turn();
    take_mutex();
}

void interleave_wake(interleave_cond *c, bool all, const char *what) {
    ordered_point(what);
    for (int i = 0; i < x.n_thread; i++) {
        thread &t = x.thread_of[i];
        if (t.waits_for != COND || t.cond != c) continue;
        t.waits_for = MUTEX;
        if (!all) return;
    }
}
