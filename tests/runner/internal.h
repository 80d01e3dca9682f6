#ifndef WEIR_TESTS_RUNNER_INTERNAL_H
#define WEIR_TESTS_RUNNER_INTERNAL_H

/* Between the runner's own files. They are not instrumented by sanitizers, so they keep to plain arrays where
 * CUDA threads run them: a container's functions could be the instrumented ones of another file. */
#include "tests/runner/fiber.h"
#include "tests/runner/runner.h"

namespace runner {

/* ---- a launch and its threads (schedule.cc) ---- */

enum class state : unsigned char { READY, SPINNING, BARRIER, WARP, DONE };

struct block;

struct thread : view {
    fiber stack;
    block *b;
    int index; /* in its block */
    int turn;  /* place in the schedule */
    state st;
    bool waited;   /* has called grid_wait */
    site at;       /* where it waits or last waited */
    pending *copy; /* cp.async under way, oldest first: [first_copy, n_copy) of room */
    int *group;
    int first_copy, n_copy, room, open_group;
};

struct lane {
    unsigned mask;
    int source;     /* of a shuffle, which moves n words of 2, 4 or 8 bytes */
    const void *in; /* of the thread, which waits */
    void *out;
    size_t word, n;
    warp_op op;
    site at;
};

struct warp {
    unsigned waiting, exited, present; /* lanes */
    char order;
    uint64_t in[32], out[32];
    lane of[32];
    alignas(16) unsigned char wide_in[32][48], wide_out[32][16]; /* of tensor core operations */
};

/* Of all threads of a block that have not exited. */
struct block_barrier {
    int arrived;
    unsigned generation;
    site at;
    int gathered, result[2];
    char order[2];
};

enum { MAX_SHARED = 64, MAX_THREADS = 1024 };

struct block {
    uint3 id;
    thread **t;
    int n, alive;
    bool waited;
    warp *w;
    block_barrier bar;
    void *shared[MAX_SHARED], *dynamic;
    size_t static_bytes;
    char shared_order[MAX_SHARED + 1];
};

struct launch {
    const char *name, *file;
    int line;
    dim3 grid, threads;
    size_t dynamic;
    size_t dynamic_allowed;
    bool together, dependent; /* all blocks are resident; it may begin before the one ahead has ended */
    const std::function<void()> *body;
};

/* Runs every block to its end. */
void run(const launch &l);

/* What the launching call said of itself (K_LAUNCH); cleared by taking it. */
struct launch_name {
    const char *kernel, *file;
    int line;
    bool team; /* blocks wait for each other, also without a cooperative launch */
};
launch_name take_launch_name();
void put_back(launch_name n); /* of a launch that was refused: it may be made again */

void barrier_of_exited(block *b);
inline thread *current() { return static_cast<thread *>(self); }
inline bool same_site(site a, site b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}
const launch *running();  /* NULL outside kernels */
void wait_here(state st); /* until wake */
void wake(thread *t);
void yield_spinning();

/* ---- one host thread at a time (turn.cc) ---- */
void turn_take(); /* may be taken again by the one who has it */
void turn_give();
void turn_pass(); /* by the one who has it: others go first */

/* Where the work that runs belongs: the stream's place in the order of its work, and its device. */
struct place {
    int order, device;
};
extern place at_work;
enum { ORDERS = 65 }; /* of all streams; 0 is stream 0 */
int streams_alive();  /* without stream 0 */

/* Order of a stream for ThreadSanitizer: work k is ordered after work k - 1 by its end token, and after the
 * host by the token of its submission. Host code is ordered after a stream only where it waits for it. These
 * are of the stream at work. */
void stream_submit(); /* by the host, ahead of every piece of work: a new ticket */
void stream_begin();  /* by a thread of it (not of a dependent launch) */
/* Ahead of a dependent launch: it begins after the work before the previous one or, if that has let it begin
 * without having waited itself, as early as that. */
void stream_launch_early();
void stream_begin_early(); /* by a thread of it */
void stream_end();         /* by a thread of it */
void stream_ended();       /* by whoever comes after all of its threads */
uint64_t stream_ticket(int order);
void host_waits(int order, uint64_t ticket); /* by the host, for that piece of work */
void host_waits_all();                       /* for all streams */

/* fn on behalf of another thread, as far as ThreadSanitizer can tell: the stream's copies, the allocator's
 * memory. */
enum identity { STREAM, MAKER, ERASER, IDENTITIES };
void act_as(identity who, void (*fn)(void *), void *arg);

/* ---- device memory (memory.cc) ---- */
void device_enter();                    /* what the device at work can reach is accessible from here … */
void device_enter_all();                /* every device's */
void device_leave();                    /* … to here, counted */
void device_view();                     /* again, once another device has been at work */
bool peer_enable(int device, int peer); /* false: it was */
void check_redzones(const char *after);
void *device_new(int device, size_t bytes); /* NULL: no room */
bool device_delete(void *p);                /* false: not one of ours */
/* Allocations for other processes, where WEIR_RUNNER_IPC is 1; NULL and false: not to be had. */
bool ipc_handle(cudaIpcMemHandle_t *handle, const void *p);
void *ipc_open(int device, const cudaIpcMemHandle_t *handle);
bool ipc_close(void *p);
int ipc_opened(); /* other processes' allocations, whose kernels may be waited for */
bool device_has(const void *p, size_t bytes); /* all of it inside one allocation */
bool device_address(const void *p);           /* points into device memory, valid or not */
void *pinned_new(size_t bytes);
bool pinned_delete(void *p);
bool pinned_has(const void *p, size_t bytes);
size_t memory_total();
size_t memory_used(int device);
long device_blocks();
void catch_faults();

/* ---- plain helpers that no sanitizer intercepts ---- */
inline void fill_bytes(void *to, int value, size_t n) {
    volatile unsigned char *d = static_cast<volatile unsigned char *>(to);
    while (n--) *d++ = static_cast<unsigned char>(value);
}

long env_number(const char *name, long otherwise);
[[noreturn]] void give_up(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

} // namespace runner

#endif /* WEIR_TESTS_RUNNER_INTERNAL_H */
