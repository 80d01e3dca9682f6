/* One host thread at a time, in order of coming. Made of what ThreadSanitizer does not see: whoever waits in
 * a kernel for another device is ordered after it by what the kernels say, not by whose turn it is. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include "tests/runner/internal.h"

namespace runner {

static uint32_t next_number, served; /* of those who have come; of the one whose turn it is */
static const void *owner;
static int depth;
static thread_local char me;

static void queue_up() {
    const uint32_t mine = __atomic_fetch_add(&next_number, 1, __ATOMIC_RELAXED);
    for (;;) {
        const uint32_t seen = __atomic_load_n(&served, __ATOMIC_ACQUIRE);
        if (seen == mine) return;
        syscall(SYS_futex, &served, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    }
}

static void let_go() {
    __atomic_store_n(&owner, nullptr, __ATOMIC_RELAXED);
    __atomic_store_n(&served, served + 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &served, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
}

void turn_take() {
    if (__atomic_load_n(&owner, __ATOMIC_RELAXED) != &me) {
        queue_up();
        __atomic_store_n(&owner, &me, __ATOMIC_RELAXED);
    }
    depth++;
}

void turn_give() {
    if (--depth == 0) let_go();
}

/* Where nobody waits the others are at work outside of the runtime: a nap leaves them the processor. */
void turn_pass() {
    const int kept = depth;
    const bool alone = __atomic_load_n(&next_number, __ATOMIC_RELAXED) == served + 1;
    const struct timespec nap = {0, 20 * 1000};
    depth = 0;
    let_go();
    if (alone) syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, nullptr);
    queue_up();
    __atomic_store_n(&owner, &me, __ATOMIC_RELAXED);
    depth = kept;
}

} // namespace runner
