#ifndef WEIR_TESTS_RUNNER_CONTROL_H
#define WEIR_TESTS_RUNNER_CONTROL_H

/* What tests ask of the CPU runner, and make it do. All of it is per process and may be called at any time
 * from the host. */
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Calls so far of a function of the runtime or of cuBLASLt, by its name ("cudaStreamSynchronize"); kernel
 * launches of all kinds are "cudaLaunchKernelExC", those from inside a graph "graph kernel", and programmatic
 * ones that begin cp.async before grid_wait "copies before grid_wait". */
long runner_api_count(const char *name);
void runner_api_reset(void);

/* Device allocations not freed; pinned ones are not counted. */
size_t runner_memory_used(int device); /* bytes */
long runner_live_blocks(void);
long runner_live_objects(void); /* streams, events, graphs, pinned memory */

/* Failures. n counts from 1 = the next one; 0 = none. */
void runner_fail_malloc(long n);     /* cudaMalloc number n and all later ones: out of memory */
void runner_fail_host_alloc(long n); /* the same for cudaHostAlloc */
/* Kernel number n (a graph's too) does not run: every later call for its device answers that memory was
 * accessed illegally, from the next one that is not cudaPeekAtLastError or cudaGetLastError. */
void runner_fail_launch(long n);
/* What the machine refuses from now on (runner_ask, added up), with cudaErrorNotSupported; several calls add
 * up, runner_refuse(RUNNER_NEVER, 0) ends it. */
enum runner_ask {
    RUNNER_IF = 1,          /* conditional nodes of that type */
    RUNNER_EARLY = 2,       /* programmatic launches */
    RUNNER_COOPERATIVE = 4, /* cooperative launches */
    RUNNER_WHILE = 8,
    RUNNER_GRAPH = 16 /* graphs at all */
};
typedef enum runner_when {
    RUNNER_NEVER,
    RUNNER_AT_ONCE,   /* the launch of the kernel, the node's addition, the beginning of a capture */
    RUNNER_AT_MAKING, /* cudaGraphInstantiate of a graph that has it */
    RUNNER_AT_LAUNCH, /* cudaGraphLaunch of one */
} runner_when;
void runner_refuse(runner_when when, unsigned asks);
/* 1: no kernel runs any more, and the device stays busy; a call that would wait for it ends the process. 2:
 * that from the next launch of a graph on; 0: it is over. */
void runner_hang(int when);
void runner_code(int ptx_version);      /* of all kernels, as cudaFuncGetAttributes says; 0: as the device */
void runner_mend(void);                 /* devices work again, as for another process */
void runner_devices(int n);             /* 0 … 8 devices; -1: no driver */
void runner_peers(int allowed);         /* 0: no device can be given another one's memory */
void runner_compute_capability(int cc); /* 90 to begin with; 80 leaves programmatic dependent launches out */
void runner_shared_memory(int bytes);   /* that a block can ask for; 0: the 227 KB to begin with */
void runner_busy(long n);               /* the next n cudaStreamQuery find work under way: cudaErrorNotReady,
                                           kept like an error */
void runner_nccl(int there);            /* 0: libnccl.so.2 cannot be opened */
void runner_blaslt(int there);          /* 0: libcublasLt.so.13 cannot be opened */

#ifdef __cplusplus
}
#endif

#endif /* WEIR_TESTS_RUNNER_CONTROL_H */
