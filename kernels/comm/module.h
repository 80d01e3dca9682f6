#ifndef WEIR_KERNELS_COMM_MODULE_H
#define WEIR_KERNELS_COMM_MODULE_H

#include "kernels/comm/comm.h"

/* MPIs share no binary interface, so what speaks to one is a module of its own (mpi/comm_mpi.c), built
 * against the MPI that was found and loaded when it is asked for: weir-mpi.so beside the program, or in
 * ../lib/weir of its folder, or where WEIR_MPI_MODULE says.
 *
 * A module is built with the program that loads it: `version` must be the program's. */
#define WEIR_COMM_MODULE_VERSION 1

typedef struct weir_comm_module {
    int version;
    /* This process's handle of the job it was started in; all ranks call it. */
    weir_status (*open)(weir_comm **out, double seconds, weir_err *err);
} weir_comm_module;

#define WEIR_COMM_MODULE_SYMBOL "weir_comm_module_entry"

/* ENOTSUP: there is no module, or not this program's; else as its open. A module is never unloaded. */
weir_status weir__comm_mpi_open(weir_comm **out, double seconds, weir_err *err);

#endif /* WEIR_KERNELS_COMM_MODULE_H */
