/* Which CUDA thread runs. One OS thread runs all of a launch: ordinary blocks one after another, the blocks
 * of a team all at once. A thread runs until it waits; the next one in the schedule's order
 * follows. Descending, the first one in that order that can run follows instead: the last warp runs as far
 * ahead of the others as barriers let it.
 *
 * Launches of several host threads (devices that wait for each other) take turns: one goes on until all that
 * it could run only spins, then the next (turn.cc). Each has a board of its own. */
#include "tests/runner/internal.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>

dim3 blockDim, gridDim;

namespace runner {

view *self;

/* Rounds in which every thread that could run only spun, ahead of calling it endless. */
enum { ENDLESS = 10000, SETS = 2 };

/* Of a launch under way. Boards are kept: their threads have stacks. */
struct board {
    thread **pool[SETS]; /* two sets take turns, so that blocks do not share TSan's identities */
    int pool_size[SETS], next_set;
    thread **turn_of; /* the schedule: thread at each turn */
    uint64_t *ready;
    int n_turn, turn_room, n_spinning, n_alive;
    long idle_rounds;
    uint64_t seen; /* of `progressed`, at the last idle round */
    fiber host;
    const launch *now;
    block *blocks;
    int n_block;
    uint64_t random_state, step, start;
    bool taken;
};
enum { BOARDS = 16 };
static board boards[BOARDS], nothing;
static board *d = &nothing; /* of the launch that runs */
static int n_running;
static uint64_t progressed;
static thread_local launch_name name_of_next;

enum order { ASCENDING, DESCENDING, RANDOM };
static order how_ordered;
static uint64_t seed;

/* ---- reports ---- */

static const char *words(const thread *t) {
    switch (t->st) {
    case state::READY: return "can run";
    case state::SPINNING: return "spins";
    case state::BARRIER: return "waits at a barrier";
    case state::WARP: return "waits for lanes of its warp";
    case state::DONE: return "has exited";
    }
    return "?";
}

static unsigned mask_of(const thread *t) {
    return t->st == state::WARP ? t->b->w[t->index / 32].of[t->index % 32].mask : 0;
}

static bool alike(const thread *a, const thread *b) {
    return a->b == b->b && a->st == b->st && a->at.line == b->at.line && a->at.file == b->at.file &&
           mask_of(a) == mask_of(b);
}

static void print_threads() {
    enum { MOST = 24 };
    int shown = 0;
    const int per_block = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
    const thread *last = nullptr;
    for (int s = 0; s < SETS; s++) {
        for (int i = 0; i < d->pool_size[s] && shown < MOST; i++) {
            const thread *t = d->pool[s][i];
            if (!t->b || d->turn_of[t->turn] != t || t->index >= per_block || (last && alike(last, t)))
                continue;
            last = t;
            shown++;
            fprintf(stderr, "  block %u from thread %d: %s, %s:%d", t->bid.x, t->index, words(t), t->at.file,
                    t->at.line);
            if (t->st == state::WARP) fprintf(stderr, ", mask %08x", mask_of(t));
            fputc('\n', stderr);
        }
    }
}

void fail(site at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (d->now)
        fprintf(stderr, "runner: kernel %s launched at %s:%d\n", d->now->name, d->now->file, d->now->line);
    if (self) {
        fprintf(stderr, "runner: block (%u,%u,%u) thread (%u,%u,%u)\n", self->bid.x, self->bid.y, self->bid.z,
                self->tid.x, self->tid.y, self->tid.z);
    }
    fprintf(stderr, "runner: %s:%d: ", at.file, at.line);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    if (d->now) print_threads();
    fflush(stderr);
    abort();
}

void give_up(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fputs("runner: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(stderr);
    abort();
}

long env_number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, nullptr, 10) : otherwise;
}

void name_launch(const char *kernel, const char *file, int line, bool team) {
    name_of_next = {kernel, file, line, team};
}

void put_back(launch_name n) { name_of_next = n; }

launch_name take_launch_name() {
    const launch_name n = name_of_next.kernel ? name_of_next : launch_name{"(unnamed)", "?", 0, false};
    name_of_next = {};
    return n;
}

/* ---- turns ---- */

static uint64_t random_next() {
    d->random_state ^= d->random_state << 13;
    d->random_state ^= d->random_state >> 7;
    d->random_state ^= d->random_state << 17;
    return d->random_state;
}

static void read_order() {
    static bool known;
    if (known) return;
    known = true;
    const char *text = getenv("WEIR_RUNNER_ORDER");
    if (!text || !*text || strcmp(text, "asc") == 0) {
        how_ordered = ASCENDING;
    } else if (strcmp(text, "desc") == 0) {
        how_ordered = DESCENDING;
    } else if (strncmp(text, "rand", 4) == 0) {
        how_ordered = RANDOM;
        seed = 0x9e3779b97f4a7c15ull * (strtoull(text + 4, nullptr, 10) + 1);
    } else {
        give_up("WEIR_RUNNER_ORDER=%s: expected asc, desc or rand<seed>", text);
    }
}

const launch *running() { return d->now; }

static void set_ready(thread *t) {
    t->st = state::READY;
    d->ready[t->turn >> 6] |= 1ull << (t->turn & 63);
}

static void clear_ready(const thread *t) { d->ready[t->turn >> 6] &= ~(1ull << (t->turn & 63)); }

static thread *scan(int from) {
    const int words_ = (d->n_turn + 63) / 64;
    int w = from >> 6;
    for (int i = 0; i <= words_; i++) {
        uint64_t bits = d->ready[w];
        if (i == 0) bits &= ~0ull << (from & 63);
        if (bits) return d->turn_of[64 * w + __builtin_ctzll(bits)];
        w = w + 1 == words_ ? 0 : w + 1;
    }
    return nullptr;
}

/* Every launch under way only spins, and no host thread is left that could begin another. */
static bool nobody_helps() {
    if (n_running < streams_alive() || ipc_opened() > 0) return false;
    for (const board &b : boards) {
        if (b.taken && &b != d && (b.idle_rounds <= ENDLESS || b.seen != progressed)) return false;
    }
    return true;
}

/* Other host threads take their turns; then this launch goes on where it was. */
static void hand_over() {
    board *const mine = d;
    view *const me = self;
    const dim3 block = blockDim, grid = gridDim;
    const place at = at_work;
    d = &nothing;
    self = nullptr;
    turn_pass();
    d = mine;
    self = me;
    blockDim = block;
    gridDim = grid;
    at_work = at;
    fiber_host_is(&d->host);
    device_view();
}

/* Spinning threads look again once no other thread can run. */
static void wake_spinning() {
    if (d->seen != progressed) d->idle_rounds = 0;
    d->seen = progressed;
    const bool alone = streams_alive() < 2 && ipc_opened() == 0;
    if (++d->idle_rounds > ENDLESS && (alone || nobody_helps()))
        fail(current()->at, "endless: every thread that can run only spins");
    if (!alone) hand_over();
    for (int i = 0; i < d->n_turn; i++) {
        if (d->turn_of[i]->st == state::SPINNING) set_ready(d->turn_of[i]);
    }
    d->n_spinning = 0;
}

/* The turn to look from for the one who follows. */
static int next_turn() {
    if (how_ordered == RANDOM) return static_cast<int>(random_next() % static_cast<uint64_t>(d->n_turn));
    if (how_ordered == DESCENDING || !current()) return 0;
    return (current()->turn + 1) % d->n_turn;
}

static thread *next_thread() {
    const int from = next_turn();
    thread *t = scan(from);
    if (t || d->n_spinning == 0) return t;
    wake_spinning();
    return scan(from);
}

static void switch_to(thread *t) {
    fiber *from = current() ? &current()->stack : &d->host;
    if (t && t->turn + 2 < d->n_turn) { /* those most likely to follow: on their way into the cache */
        const char *sp = static_cast<const char *>(d->turn_of[t->turn + 1]->stack.sp);
        __builtin_prefetch(sp);
        __builtin_prefetch(sp + 64);
        __builtin_prefetch(sp + 128);
        __builtin_prefetch(d->turn_of[t->turn + 2]);
    }
    self = t;
    fiber_switch(from, t ? &t->stack : &d->host);
}

static void leave() {
    thread *t = next_thread();
    if (!t && d->n_alive > 0) fail(current()->at, "deadlock: every thread waits");
    switch_to(t);
}

void wait_here(state st) {
    thread *me = current();
    me->st = st;
    clear_ready(me);
    if (st == state::SPINNING) d->n_spinning++;
    leave();
}

void wake(thread *t) { set_ready(t); }

void spin(site at) {
    current()->at = at;
    wait_here(state::SPINNING);
}

void progress() { progressed++; }

uint64_t global_ns() {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

/* ---- a thread's life ---- */

static void thread_entry() {
    fiber_entered();
    thread *me = current();
    if (d->now->dependent) {
        stream_begin_early();
    } else {
        stream_begin();
    }
    (*d->now->body)();
    me = current();
    if (me->n_copy > me->first_copy) fail(me->at, "a thread exits while its cp.async are under way");
    stream_end();
    block *b = me->b;
    me->st = state::DONE;
    clear_ready(me);
    b->alive--;
    d->n_alive--;
    b->w[me->index / 32].exited |= 1u << (me->index % 32);
    b->waited = b->waited || me->waited;
    progress();
    barrier_of_exited(b);
    me->stack.over = true;
    leave();
    __builtin_trap(); /* nothing returns to an exited thread */
}

static void *room_for(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) give_up("out of host memory");
    return p;
}

static void pool_grow(int set, int n) {
    if (d->pool_size[set] >= n) return;
    d->pool[set] = static_cast<thread **>(realloc(d->pool[set], static_cast<size_t>(n) * sizeof(thread *)));
    if (!d->pool[set]) give_up("out of host memory");
    for (; d->pool_size[set] < n; d->pool_size[set]++) {
        thread *t = static_cast<thread *>(room_for(1, sizeof(thread)));
        fiber_make(&t->stack);
        d->pool[set][d->pool_size[set]] = t;
    }
}

static void turns_grow(int n) {
    if (d->turn_room >= n) return;
    d->turn_room = n;
    free(d->turn_of);
    free(d->ready);
    d->turn_of = static_cast<thread **>(room_for(static_cast<size_t>(n), sizeof *d->turn_of));
    d->ready = static_cast<uint64_t *>(room_for(static_cast<size_t>(n) / 64 + 2, sizeof *d->ready));
}

/* The turn of each of n threads. */
static void make_order(thread **t, int n) {
    for (int i = 0; i < n; i++) d->turn_of[how_ordered == DESCENDING ? n - 1 - i : i] = t[i];
    for (int i = n - 1; how_ordered == RANDOM && i > 0; i--) {
        const int j = static_cast<int>(random_next() % static_cast<uint64_t>(i + 1));
        thread *const kept = d->turn_of[i];
        d->turn_of[i] = d->turn_of[j];
        d->turn_of[j] = kept;
    }
}

/* Blocks of one launch use one block's barriers in turn, which orders nothing between them. */
static void forget_order(block *b, int n_warp) {
    for (char &token : b->bar.order) order_forget(&token);
    for (int i = 0; i < n_warp; i++) order_forget(&b->w[i].order);
    for (char &token : b->shared_order) order_forget(&token);
}

static void block_begin(block *b, uint64_t number, thread **t, int n) {
    const dim3 g = d->now->grid, threads = d->now->threads;
    b->id = uint3{static_cast<unsigned>(number % g.x), static_cast<unsigned>(number / g.x % g.y),
                  static_cast<unsigned>(number / g.x / g.y)};
    b->t = t;
    b->n = b->alive = n;
    b->waited = false;
    b->static_bytes = 0;
    forget_order(b, (n + 31) / 32);
    fill_bytes(&b->bar, 0, sizeof b->bar);
    fill_bytes(b->shared, 0, sizeof b->shared);
    b->dynamic = nullptr;
    for (int i = 0; i < (n + 31) / 32; i++) {
        warp *w = &b->w[i];
        const int lanes = n - 32 * i < 32 ? n - 32 * i : 32;
        w->waiting = w->exited = 0;
        w->present = lanes == 32 ? ~0u : (1u << lanes) - 1;
    }
    for (int i = 0; i < n; i++) {
        thread *me = t[i];
        const unsigned u = static_cast<unsigned>(i);
        me->tid = uint3{u % threads.x, u / threads.x % threads.y, u / threads.x / threads.y};
        me->bid = b->id;
        me->b = b;
        me->index = i;
        me->waited = false;
        me->at = site{d->now->file, d->now->line};
        me->first_copy = me->n_copy = me->open_group = 0;
        fiber_start(&me->stack, thread_entry);
    }
}

static void erase_shared(void *arg) {
    block *b = static_cast<block *>(arg);
    stream_ended();
    for (int i = 0; i < MAX_SHARED; i++) free(b->shared[i]);
    free(b->dynamic);
}

static void block_end(block *b) {
    const site launched = {d->now->file, d->now->line};
    self = b->t[0];
    if (d->now->dependent && !b->waited) {
        fail(launched, "K_LAUNCH_PDL, but no thread of the block has called ptx::grid_wait()");
    }
    self = nullptr;
    act_as(ERASER, erase_shared, b);
}

/* Blocks first … first + n_block - 1 (in the schedule's order), all resident. */
static void run_resident(block *blocks, const uint64_t *number, int n_block, int n) {
    const int set = d->next_set;
    d->next_set = (d->next_set + 1) % SETS;
    d->n_turn = n_block * n;
    pool_grow(set, d->n_turn);
    turns_grow(d->n_turn);
    for (int i = 0; i < n_block; i++) block_begin(&blocks[i], number[i], d->pool[set] + i * n, n);
    make_order(d->pool[set], d->n_turn);
    for (int i = 0; i < d->n_turn; i++) d->turn_of[i]->turn = i;
    for (int i = 0; i < (d->n_turn + 63) / 64; i++) d->ready[i] = 0;
    for (int i = 0; i < d->n_turn; i++) set_ready(d->turn_of[i]);
    d->n_spinning = 0;
    d->n_alive = d->n_turn;
    d->idle_rounds = 0;
    d->seen = progressed;
    self = nullptr;
    switch_to(next_thread());
    for (int i = 0; i < n_block; i++) block_end(&blocks[i]);
    self = nullptr;
    for (int i = 0; i < d->n_turn; i++) d->pool[set][i]->b = nullptr;
}

static block *blocks_of(int n_block) {
    if (d->n_block >= n_block) return d->blocks;
    for (int i = 0; i < d->n_block; i++) free(d->blocks[i].w);
    free(d->blocks);
    d->blocks = static_cast<block *>(room_for(static_cast<size_t>(n_block), sizeof(block)));
    d->n_block = n_block;
    for (int i = 0; i < n_block; i++)
        d->blocks[i].w = static_cast<warp *>(room_for(MAX_THREADS / 32, sizeof(warp)));
    return d->blocks;
}

static uint64_t block_number(uint64_t i, uint64_t n) {
    if (how_ordered == DESCENDING) return n - 1 - i;
    if (how_ordered == ASCENDING || n == 1) return i;
    /* an affine walk that meets every block once */
    if (i == 0) {
        d->start = random_next() % n;
        d->step = 1 + random_next() % n;
        for (uint64_t a = d->step, b = n; b;) {
            const uint64_t r = a % b;
            a = b;
            b = r;
            if (b == 0 && a != 1) a = ++d->step, b = n;
        }
    }
    return (d->start + static_cast<uint64_t>(static_cast<unsigned __int128>(i) * d->step % n)) % n;
}

static board *board_take() {
    for (int i = 0; i < BOARDS; i++) {
        board *b = &boards[i];
        if (b->taken) continue;
        if (!b->random_state) b->random_state = seed + static_cast<uint64_t>(i);
        b->taken = true;
        n_running++;
        return b;
    }
    give_up("more than %d launches at once", BOARDS);
}

static void board_give(board *b) {
    b->taken = false;
    n_running--;
    d = &nothing;
}

void run(const launch &l) {
    read_order();
    d = board_take();
    fiber_host(&d->host);
    d->now = &l;
    if (l.dependent) stream_launch_early();
    gridDim = l.grid;
    blockDim = l.threads;
    const int n = static_cast<int>(l.threads.x * l.threads.y * l.threads.z);
    const uint64_t n_block = static_cast<uint64_t>(l.grid.x) * l.grid.y * l.grid.z;
    if (l.together) {
        block *all = blocks_of(static_cast<int>(n_block));
        uint64_t *number = static_cast<uint64_t *>(room_for(n_block, sizeof *number));
        for (uint64_t i = 0; i < n_block; i++) number[i] = i;
        run_resident(all, number, static_cast<int>(n_block), n);
        free(number);
    } else {
        block *one = blocks_of(1);
        for (uint64_t i = 0; i < n_block; i++) {
            const uint64_t number = block_number(i, n_block);
            run_resident(one, &number, 1, n);
        }
    }
    d->now = nullptr;
    board_give(d);
    check_redzones(l.name);
}

} // namespace runner
