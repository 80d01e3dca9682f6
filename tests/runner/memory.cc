/* Device memory. Plain and TSan builds: a range of addresses that is closed (PROT_NONE) while host code runs
 * and open while a kernel, a copy or a fill does; no address is used twice, and a band after every allocation
 * shows what was written past it. Under ASan: exact heap blocks, which it guards better. */
#include "tests/runner/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace runner {

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, BAND = 256, BAND_BYTE = 0xA5, MIB = 1 << 20 };

struct allocation {
    char *p;
    size_t bytes, span; /* span: pages of it and its band */
    int device;
    bool shared;  /* a peer has written a flag here: order at the scope of one device is not enough */
    bool foreign; /* of another process */
    allocation *next;
};
enum { DEVICES = 8 };
static allocation *device_list, *pinned_list;
static long n_device;
static size_t used[DEVICES];
static int depth;
static unsigned reach[DEVICES]; /* bit p: a device has been given device p's memory */

static int n_enabled; /* peers */

bool peer_enable(int device, int peer) {
    if (reach[device] >> peer & 1) return false;
    reach[device] |= 1u << peer;
    n_enabled++;
    return true;
}

size_t memory_total() {
    static size_t total;
    if (!total) total = static_cast<size_t>(env_number("WEIR_RUNNER_MIB", 1024)) * MIB;
    return total;
}
size_t memory_used(int device) { return used[device]; }
long device_blocks() { return n_device; }

static allocation *find(allocation *list, const void *p, size_t bytes) {
    const char *c = static_cast<const char *>(p);
    for (allocation *a = list; a; a = a->next) {
        if (c >= a->p && c <= a->p + a->bytes && bytes <= static_cast<size_t>(a->p + a->bytes - c)) return a;
    }
    return nullptr;
}

static allocation *unlink(allocation **list, const void *p) {
    for (allocation **a = list; *a; a = &(*a)->next) {
        if ((*a)->p != p) continue;
        allocation *found = *a;
        *a = found->next;
        return found;
    }
    return nullptr;
}

bool device_has(const void *p, size_t bytes) { return find(device_list, p, bytes) != nullptr; }
bool pinned_has(const void *p, size_t bytes) { return find(pinned_list, p, bytes) != nullptr; }

static allocation *record(allocation **list, void *p, size_t bytes, size_t span, int device) {
    allocation *a = static_cast<allocation *>(malloc(sizeof *a));
    if (!a) give_up("out of host memory");
    *a = allocation{static_cast<char *>(p), bytes, span, device, false, false, *list};
    *list = a;
    return a;
}

void *pinned_new(size_t bytes) {
    void *p = nullptr;
    if (posix_memalign(&p, PAGE, bytes ? bytes : 1) != 0) return nullptr;
    memset(p, 0xFF, bytes);
    record(&pinned_list, p, bytes, 0, 0);
    return p;
}

bool pinned_delete(void *p) {
    allocation *a = unlink(&pinned_list, p);
    if (!a) return false;
    free(a->p);
    free(a);
    return true;
}

static int n_foreign;

int ipc_opened() { return n_foreign; }

#ifdef RUNNER_ASAN

bool ipc_handle(cudaIpcMemHandle_t *, const void *) { return false; }
void *ipc_open(int, const cudaIpcMemHandle_t *) { return nullptr; }
bool ipc_close(void *) { return false; }
bool device_address(const void *p) { return find(device_list, p, 0) != nullptr; }
void device_enter() { depth++; }
void device_enter_all() { depth++; }
void device_leave() { depth--; }
void device_view() {}
void check_redzones(const char *) {}
void catch_faults() {}

static void *place_new(size_t bytes, size_t *span) {
    void *p = nullptr;
    *span = bytes;
    return posix_memalign(&p, 256, bytes) == 0 ? p : nullptr;
}
static void displace(allocation *a) { free(a->p); }
static void close_again(const allocation *) {}

#else

static char *range, *range_next, *range_end;
static int range_file = -1; /* what the range is made of, where other processes may have parts of it */

/* Of the range; a file costs more at every launch, since it has small pages. */
static void *map_range(size_t bytes) {
    const int how = MAP_NORESERVE | (range_file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    if (range_file >= 0 && ftruncate(range_file, static_cast<off_t>(bytes)) != 0) return MAP_FAILED;
    return mmap(nullptr, bytes, PROT_NONE, how, range_file, 0);
}

static void reserve() {
    if (env_number("WEIR_RUNNER_IPC", 0) == 1) range_file = memfd_create("device memory", 0);
#ifdef RUNNER_TSAN
    const size_t most = 16; /* its shadow is several times that */
#else
    const size_t most = 256;
#endif
    for (size_t gib = most; !range && gib >= 4; gib /= 2) {
        void *p = map_range(gib << 30);
        if (p == MAP_FAILED) continue;
        range = range_next = static_cast<char *>(p);
        range_end = range + (gib << 30);
    }
    if (!range) give_up("no address space for device memory");
    catch_faults();
}

bool device_address(const void *p) { return range && p >= range && p < range_end; }

static unsigned open_now; /* bit per device: its memory is accessible */

static unsigned reach_of(int device) { return reach[device] | 1u << device; }

/* Makes the memory of these devices accessible, and no other. Neighbours follow each other in the list and in
 * memory: one call for a run of them. */
static void protect(unsigned devices) {
    for (const allocation *a = device_list; a;) {
        char *end = a->p + a->span, *begin = a->p;
        const int device = a->device;
        for (a = a->next; a && a->device == device && a->p + a->span == begin; a = a->next) begin = a->p;
        if (((devices ^ open_now) >> device & 1) == 0) continue;
        if (mprotect(begin, static_cast<size_t>(end - begin),
                     devices >> device & 1 ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
            give_up("mprotect of device memory failed");
    }
    open_now = devices;
}

void device_view() {
    if (open_now != reach_of(at_work.device)) protect(reach_of(at_work.device));
}
void device_enter() {
    depth++;
    device_view();
}
void device_enter_all() {
    depth++;
    protect((1u << DEVICES) - 1);
}
void device_leave() {
    if (--depth == 0) protect(0);
}

/* The next part of the range. */
static char *take_range(size_t span, size_t page) {
    range_next += (page - reinterpret_cast<uintptr_t>(range_next) % page) % page;
    if (range_next > range_end || static_cast<size_t>(range_end - range_next) < span) return nullptr;
    char *p = range_next;
    range_next += span;
    return p;
}

/* Large allocations are on huge pages: opening and closing costs by the page, and happens at every launch. */
static void *place_new(size_t bytes, size_t *span) {
    if (!range) reserve();
    const size_t page = bytes < HUGE_PAGE / 2 ? static_cast<size_t>(PAGE) : static_cast<size_t>(HUGE_PAGE);
    *span = (bytes + BAND + page - 1) / page * page;
    char *p = take_range(*span, page);
    if (!p) return nullptr;
    if (mprotect(p, *span, PROT_READ | PROT_WRITE) != 0) return nullptr;
    madvise(p, *span, page == PAGE ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    memset(p + bytes, BAND_BYTE, BAND);
    return p;
}

static void displace(allocation *a) {
#ifdef RUNNER_TSAN
    /* A mapping in its place, which the sanitizer notices: its shadow of these pages, twice their size, goes
     * with them. */
    if (mmap(a->p, a->span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
        a->p)
        return;
#endif
    mprotect(a->p, a->span, PROT_NONE);
    madvise(a->p, a->span, MADV_DONTNEED);
}

/* As the rest of its device's memory is. */
static void close_again(const allocation *a) {
    if (!(open_now >> a->device & 1)) mprotect(a->p, a->span, PROT_NONE);
}

/* ---- memory of other processes ---- */

struct exported {
    int pid, file;
    size_t at, bytes, span;
};
static_assert(sizeof(exported) <= sizeof(cudaIpcMemHandle_t), "a handle has room");

bool ipc_handle(cudaIpcMemHandle_t *handle, const void *p) {
    const allocation *a = range_file < 0 ? nullptr : find(device_list, p, 1);
    if (!a || a->p != p || a->foreign) return false;
    const exported e = {static_cast<int>(getpid()), range_file, static_cast<size_t>(a->p - range), a->bytes,
                        a->span};
    *handle = cudaIpcMemHandle_t{};
    __builtin_memcpy(handle, &e, sizeof e);
    return true;
}

void *ipc_open(int device, const cudaIpcMemHandle_t *handle) {
    exported e;
    char path[64];
    __builtin_memcpy(&e, handle, sizeof e);
    if (e.pid == getpid()) return nullptr; /* as CUDA: a process may not open its own */
    snprintf(path, sizeof path, "/proc/%d/fd/%d", e.pid, e.file);
    const int file = open(path, O_RDWR);
    char *at = file < 0 || !range ? nullptr : take_range(e.span, PAGE);
    void *p =
        at ? mmap(at, e.span, PROT_NONE, MAP_SHARED | MAP_FIXED, file, static_cast<off_t>(e.at)) : MAP_FAILED;
    if (file >= 0) close(file);
    if (p == MAP_FAILED) return nullptr;
    allocation *a = record(&device_list, p, e.bytes, e.span, device);
    a->shared = a->foreign = true;
    n_foreign++;
    if (open_now >> device & 1) mprotect(p, e.span, PROT_READ | PROT_WRITE);
    return p;
}

bool ipc_close(void *p) {
    const allocation *found = find(device_list, p, 1);
    if (!found || found->p != p || !found->foreign) return false;
    allocation *a = unlink(&device_list, p);
    mmap(a->p, a->span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    free(a);
    n_foreign--;
    return true;
}

void check_redzones(const char *after) {
    for (const allocation *a = device_list; a; a = a->next) {
        if (!(open_now >> a->device & 1)) continue;
        const volatile unsigned char *band = reinterpret_cast<unsigned char *>(a->p) + a->bytes;
        for (size_t i = 0; i < BAND; i++) {
            if (band[i] == BAND_BYTE) continue;
            give_up("%s wrote device memory %zu bytes past the end of an allocation of %zu", after, i,
                    a->bytes);
        }
    }
}

/* ---- faults ---- */

static void explain(int, siginfo_t *info, void *) {
    char text[256];
    const thread *t = current();
    const launch *l = running();
    int n = 0;
    const allocation *of = find(device_list, info->si_addr, 1);
    if (of && l && !(reach_of(at_work.device) >> of->device & 1)) {
        n = snprintf(text, sizeof text,
                     "runner: kernel %s on device %d touched memory of device %d without peer access\n",
                     l->name, at_work.device, of->device);
    } else if (device_address(info->si_addr) && !l) {
        n = snprintf(text, sizeof text, "runner: host code touched device memory at %p\n", info->si_addr);
    } else if (l && t && fiber_guards(&t->stack, info->si_addr)) {
        n = snprintf(text, sizeof text, "runner: kernel %s: the stack of a thread is full\n", l->name);
    } else if (l && t) {
        n = snprintf(text, sizeof text,
                     "runner: kernel %s, block %u thread %d: bad address %p, behind %s:%d\n", l->name,
                     t->bid.x, t->index, info->si_addr, t->at.file, t->at.line);
    }
    if (n > 0 && write(2, text, static_cast<size_t>(n)) < 0) _exit(1);
    signal(SIGSEGV, SIG_DFL); /* and once more, to end as such faults do */
    signal(SIGBUS, SIG_DFL);
}

void catch_faults() {
    static char stack[64 << 10];
    stack_t s = {};
    s.ss_sp = stack;
    s.ss_size = sizeof stack;
    sigaltstack(&s, nullptr);
    struct sigaction how = {};
    how.sa_sigaction = explain;
    how.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &how, nullptr);
    sigaction(SIGBUS, &how, nullptr);
}

#endif

/* ---- scopes ---- */

void at_device_scope(const void *p, site at) {
    const allocation *a = n_enabled > 0 ? find(device_list, p, 1) : nullptr;
    if (!a) return;
    if (a->device != at_work.device) fail(at, "a flag in memory of device %d at the scope of one", a->device);
    if (a->shared) fail(at, "a flag that peers use at the scope of one device");
}

void at_system_scope(const void *p, site at) {
    allocation *a = n_enabled > 0 ? find(device_list, p, 1) : nullptr;
    (void)at;
    if (a && a->device != at_work.device) a->shared = true;
}

/* Nobody's values. Of allocations of tens of MiB (the library's workspace) both ends: touching all of it
 * would be a quarter of the time of a test that opens engines. */
static void spoil(void *p, size_t bytes) {
    enum { MOST = 8 * MIB, END = 2 * MIB };
    if (bytes <= MOST) {
        memset(p, 0xFF, bytes);
    } else {
        memset(p, 0xFF, END);
        memset(static_cast<char *>(p) + bytes - END, 0xFF, END);
    }
}

void *device_new(int device, size_t bytes) {
    if (bytes > memory_total() || used[device] > memory_total() - bytes) return nullptr;
    size_t span = 0;
    void *p = place_new(bytes, &span);
    if (!p) return nullptr;
    spoil(p, bytes);
    allocation *a = record(&device_list, p, bytes, span, device);
    close_again(a);
    used[device] += bytes;
    n_device++;
    return p;
}

bool device_delete(void *p) {
    allocation *a = unlink(&device_list, p);
    if (!a) return false;
    used[a->device] -= a->bytes;
    n_device--;
    displace(a);
    free(a);
    return true;
}

} // namespace runner
