#ifndef WEIR_KERNELS_LOOP_CPU_H
#define WEIR_KERNELS_LOOP_CPU_H

#include "kernels/backend.h"

/* The block loop's ops of the CPU backend; contracts in loop.h. Built on the accept path's CPU ops: the same
 * bits at every instruction set and number of threads. Nothing is allocated. */
weir_status weir__loop_rows_cpu(weir_backend *be, weir_loop_rows *a);
weir_status weir__loop_sample_cpu(weir_backend *be, weir_loop_sample *a);
weir_status weir__loop_lookup_cpu(weir_backend *be, weir_loop_lookup *a);
weir_status weir__loop_close_cpu(weir_backend *be, weir_loop_close *a);

#endif /* WEIR_KERNELS_LOOP_CPU_H */
