#ifndef WEIR_KERNELS_COMM_NCCL_H
#define WEIR_KERNELS_COMM_NCCL_H

#include <stddef.h>

/* What is used of NCCL, 2.7 or newer (names, numbers and meanings of its documentation). The library is
 * looked up when it is asked for, so no header of it is needed to build. The runner of kernels has one. */
typedef struct ncclComm *ncclComm_t;
typedef struct ncclUniqueId {
    char internal[128];
} ncclUniqueId;
typedef int ncclResult_t;   /* 0: success */
typedef int ncclDataType_t; /* of which: */
enum { NCCL_INT32 = 2, NCCL_FLOAT = 7 };

/* X(function, arguments) */
#define NCCL_MAP(X)                                                                                          \
    X(ncclGetUniqueId, (ncclUniqueId * id))                                                                  \
    X(ncclCommInitRank, (ncclComm_t * comm, int n_rank, ncclUniqueId id, int rank))                          \
    X(ncclCommDestroy, (ncclComm_t comm))                                                                    \
    X(ncclCommAbort, (ncclComm_t comm))                                                                      \
    X(ncclGroupStart, (void))                                                                                \
    X(ncclGroupEnd, (void))                                                                                  \
    X(ncclAllGather,                                                                                         \
      (const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream)) \
    X(ncclBroadcast, (const void *from, void *to, size_t count, ncclDataType_t type, int root,               \
                      ncclComm_t comm, cudaStream_t stream))                                                 \
    X(ncclSend,                                                                                              \
      (const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream)) \
    X(ncclRecv, (void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream))

#endif /* WEIR_KERNELS_COMM_NCCL_H */
