#ifndef WEIR_KERNELS_CUDA_CUDA_CUH
#define WEIR_KERNELS_CUDA_CUDA_CUH

#include "kernels/cuda/util.cuh"

/* The CUDA backend from the inside: what the device ops of the other rooms may rely on.
 *
 * An op is called through the table of backend_cuda.cu, which has made cu->device current and returns ECUDA
 * itself if the stream is broken. The op checks its contract, launches on cu->stream, and calls
 * weir__cuda_launched after every launch. It never allocates, waits or reads device memory on the host,
 * whether recording or not.
 *
 * counters: device words that are zero between ops: whoever uses some resets them to zero.
 *   [0, WEIR_COUNT_TEAM)          barriers of teams of blocks (accept, loop): the top bit of a word may stay
 *                                 set
 *   [WEIR_COUNT_TEAM, n_counter)  merges of splits (attention, linear)
 *
 * cuBLASLt is half a gigabyte and serves prompts only, so it is neither linked nor shipped.
 * weir__cublaslt_open (kernels/linear/cublaslt.cu) looks up the functions it needs by name through
 * kernels/cuda/library.h (dlopen of libcublasLt.so.13; the runner has its own), keeps them in cu->lt and
 * returns OK. If the library is missing or unusable it leaves cu->lt NULL, writes the reason into *why and
 * returns ENOTSUP: opening continues, the reason becomes part of be->about, and linear multiplies prompts
 * with its own kernel. Any other status fails the opening. weir__cublaslt_close accepts a NULL cu->lt. The
 * library's workspace is allocated at open. */
enum { WEIR_COUNT_TEAM = 1024, WEIR_COUNT_ALL = 128 * 1024 };

enum { WEIR_CUDA_ABOUTS = 7 };

/* Uploads pass through a ring of pinned memory, so that src may be reused at once while the copy runs
 * alongside the host. An event marks the end of each part's copies: the part may be written again once it has
 * passed. */
enum { WEIR_STAGE_PARTS = 8, WEIR_STAGE_BYTES = 2 << 20 };

typedef struct weir_cuda_stage {
    char *memory; /* pinned, [WEIR_STAGE_PARTS][WEIR_STAGE_BYTES] */
    cudaEvent_t done[WEIR_STAGE_PARTS];
    int part;    /* being filled */
    size_t used; /* bytes of it */
} weir_cuda_stage;

/* What an op's kernel may read before grid_wait because the op ahead leaves it alone. settled: the last
 * kernel of that op lets the next one begin only once its own wait is over, so what ops before it wrote is
 * there. It writes its outputs and, n_row > 0, keys and values of so many rows. */
typedef struct weir_cuda_ahead {
    bool settled;
    int64_t n_row;
    const int32_t *slot, *pos; /* (n_row): where its keys and values go */
} weir_cuda_ahead;

struct weir_cuda {
    weir_backend base; /* first: weir__cuda_of */
    cudaStream_t stream;
    int device, sm_count;
    int cc;               /* compute capability: 80, 86, 89, 90, 100, … */
    size_t smem_optin;    /* shared memory that a block can request, bytes */
    uint64_t conditional; /* cudaGraphConditionalHandle of the looped graph being recorded, else 0 */
    cudaGraph_t into;     /* the body that is being recorded of it, its own or a branch's */
    uint64_t branch;      /* the condition that loop_rows is to set, else 0 */
    bool branched;        /* the last node of what is being recorded is a branch, not a kernel */
    k_ways ways;          /* which ways of CUDA it takes: kernels/cuda/ways.cu */
    uint32_t refused;     /* of them, those that something has refused */
    uint32_t told;        /* ways.on when base.about was last written */
    bool refuses;         /* something of the graph that is being recorded was refused */
    weir_err refusal;     /* the last one, "what: why"; "" */
    bool broken;          /* base.err has the reason; every call returns ECUDA */
    uint32_t *counters;   /* device, [n_counter], zero between ops */
    int32_t n_counter;
    void *lt;                    /* cuBLASLt: kernels/linear/cublaslt.cu; NULL = not available */
    weir_cuda_ahead ahead, left; /* by the op before this one; by this one, set after its last launch */
    int n_graph;                 /* recorded and not freed: they contain the address of the scratch */
    weir_cuda_stage stage;
    cudaEvent_t *stamps;           /* [WEIR_STAMPS], NULL if never set; NULL before the first */
    struct weir_cuda_peers *peers; /* of the group it has joined (comm/peers.cuh), else NULL */
    struct weir_cuda_nccl *nccl;   /* the same by NCCL */
    bool stuck;                    /* a kernel does not come back: nothing may wait for it */
    char name[16], device_about[320], lt_about[192];
    char about[WEIR_CUDA_ABOUTS][1024]; /* a new one for each change: those before may be read */
    int n_about;
};
typedef struct weir_cuda weir_cuda;

static inline weir_cuda *weir__cuda_of(weir_backend *be) { return reinterpret_cast<weir_cuda *>(be); }

/* Start of every call `what`: makes the device current for this thread; ECUDA if the stream is broken, or
 * turns out to be because of something queued before. What the call before has left becomes cu->ahead. */
weir_status weir__cuda_enter(weir_cuda *cu, const char *what);
/* The same for calls that cannot be part of a graph: EINVAL while one is recorded. */
weir_status weir__cuda_enter_now(weir_cuda *cu, const char *what);

/* WEIR_OK if e is success. Otherwise the stream is broken from then on: base.err keeps the first failure as
 * "<device>: <what>: <CUDA's text>", `what` being formatted. EDEVMEM for a lack of memory, else ECUDA. While
 * a graph is recorded, what CUDA refuses breaks nothing: cu->refusal has the words, ENOTSUP. */
weir_status weir__cuda_check(weir_backend *be, cudaError_t e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Call after every launch with the op's name and shapes: weir__cuda_launched(be, "linear", "n_row %lld n %lld
 * k %lld", …). Same results. */
weir_status weir__cuda_launched(weir_backend *be, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Returns the first failure of a CUDA call to the caller. */
#define WEIR_CUDA_TRY(be, call, ...)                                         \
    do {                                                                     \
        const weir_status weir_s_ = weir__cuda_check(be, call, __VA_ARGS__); \
        if (weir_s_ != WEIR_OK) return weir_s_;                              \
    } while (0)

/* Opts in to more shared memory than a kernel gets by default, once per kernel and device; taken: its static
 * shared memory, since the driver refuses a sum of both above smem_optin. */
template <class Kernel>
cudaError_t allow_smem(Kernel *kernel, std::atomic<uint64_t> *asked, const weir_cuda *cu, size_t taken = 0) {
    const uint64_t bit = uint64_t{1} << (cu->device & 63);
    if (asked->load(std::memory_order_relaxed) & bit) return cudaSuccess;
    const cudaError_t e = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(cu->smem_optin - taken));
    if (e == cudaSuccess) asked->fetch_or(bit, std::memory_order_relaxed);
    return e;
}

/* kernels/linear/cublaslt.cu, see above. */
weir_status weir__cublaslt_open(weir_cuda *cu, weir_err *why);
void weir__cublaslt_close(weir_cuda *cu);

#endif /* WEIR_KERNELS_CUDA_CUDA_CUH */
