/* Copies under way, grid_wait, and what is ordered after what along the stream. */
#include "tests/runner/api.h"
#include "tests/runner/internal.h"

#include <cstdio>
#include <cstdlib>

namespace runner {

/* ---- cp.async ---- */

bool cp_early() {
    static int mode = -1;
    if (mode < 0) {
        const char *text = getenv("WEIR_RUNNER_CP");
        if (text && *text && strcmp(text, "early") != 0 && strcmp(text, "late") != 0) {
            give_up("WEIR_RUNNER_CP=%s: expected early or late", text);
        }
        mode = text && strcmp(text, "early") == 0;
    }
    return mode == 1;
}

/* Entries before first_copy have landed; the queue starts over when it is empty. */
static void queue_grow(thread *t) {
    const int room = t->room ? 2 * t->room : 16;
    pending *copy = static_cast<pending *>(realloc(t->copy, static_cast<size_t>(room) * sizeof *copy));
    int *group = static_cast<int *>(realloc(t->group, static_cast<size_t>(room) * sizeof *group));
    if (!copy || !group) give_up("out of host memory");
    t->copy = copy;
    t->group = group;
    t->room = room;
}

void cp_push(const pending &p, site at) {
    thread *me = current();
    me->at = at;
    if (me->first_copy == me->n_copy) me->first_copy = me->n_copy = 0;
    if (me->n_copy == me->room) queue_grow(me);
    me->copy[me->n_copy] = p;
    me->group[me->n_copy++] = me->open_group;
}

void cp_async_commit() { current()->open_group++; }

bool cp_pop(int keep, pending *out) {
    thread *me = current();
    if (me->first_copy == me->n_copy || me->group[me->first_copy] >= me->open_group - keep) return false;
    *out = me->copy[me->first_copy++];
    return true;
}

/* ---- numbers ---- */

float f32_of_f16(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, exponent = h >> 10 & 31u,
                   fraction = h & 0x3ffu;
    if (exponent == 0) {
        const float tiny = static_cast<float>(fraction) * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    const uint32_t u = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    float x;
    __builtin_memcpy(&x, &u, 4);
    return x;
}

/* ---- the stream's order ---- */

enum { TICKETS = 1024, FIRST_TICKET = 2 };
static struct {
    char submitted[TICKETS], ended[TICKETS];
    uint64_t before[TICKETS]; /* of a launch: all up to that ticket has ended when it begins */
    bool hasty[TICKETS];      /* a launch that lets the next one begin although it has not waited itself */
    bool copies[TICKETS];     /* a launch that copies before it waits */
    uint64_t done;            /* tickets after the first */
} orders[ORDERS];
place at_work;

static uint64_t ticket() { return stream_ticket(at_work.order); }
static char *submission() { return &orders[at_work.order].submitted[ticket() % TICKETS]; }
static char *end_of(int order, uint64_t k) { return &orders[order].ended[k % TICKETS]; }

uint64_t stream_ticket(int order) { return orders[order].done + FIRST_TICKET; }

void stream_submit() {
    auto &o = orders[at_work.order];
    o.done++;
    o.before[ticket() % TICKETS] = ticket() - 1;
    o.hasty[ticket() % TICKETS] = o.copies[ticket() % TICKETS] = false;
    order_release(submission());
}

void stream_launch_early() {
    auto &o = orders[at_work.order];
    const uint64_t k = ticket();
    o.before[k % TICKETS] = o.hasty[(k - 1) % TICKETS] ? o.before[(k - 1) % TICKETS] : k - 2;
}

void stream_begin() {
    order_acquire(submission());
    order_acquire(end_of(at_work.order, ticket() - 1));
}

void stream_begin_early() {
    order_acquire(submission());
    order_acquire(end_of(at_work.order, orders[at_work.order].before[ticket() % TICKETS]));
}

void stream_end() { order_release(end_of(at_work.order, ticket())); }
void stream_ended() { order_acquire(end_of(at_work.order, ticket())); }

/* Ends are chained: the last one is ordered after all before it, except those of a dependent launch whose
 * threads never waited. */
void host_waits(int order, uint64_t k) {
    order_acquire(end_of(order, k - 1));
    order_acquire(end_of(order, k));
}

void host_waits_all() {
    for (int i = 0; i < ORDERS; i++) {
        if (orders[i].done > 0) host_waits(i, stream_ticket(i));
    }
}

void grid_wait() {
    current()->waited = true;
    order_acquire(end_of(at_work.order, ticket() - 1));
}

void cp_issued() {
    bool &copies = orders[at_work.order].copies[ticket() % TICKETS];
    if (copies || !running()->dependent || current()->waited) return;
    count_call("copies before grid_wait");
    copies = true;
}

void grid_launch_dependents() {
    if (running()->dependent && !current()->waited) orders[at_work.order].hasty[ticket() % TICKETS] = true;
}

#ifdef RUNNER_TSAN
extern "C" void *__tsan_get_current_fiber();
extern "C" void *__tsan_create_fiber(unsigned flags);
extern "C" void __tsan_switch_to_fiber(void *fiber, unsigned flags);

void act_as(identity who, void (*fn)(void *), void *arg) {
    static void *others[IDENTITIES];
    if (!others[who]) others[who] = __tsan_create_fiber(0);
    void *me = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(others[who], 1);
    fn(arg);
    __tsan_switch_to_fiber(me, 1);
}
#else
void act_as(identity, void (*fn)(void *), void *arg) { fn(arg); }
#endif

} // namespace runner
