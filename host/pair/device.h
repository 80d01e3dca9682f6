#ifndef WEIR_HOST_PAIR_DEVICE_H
#define WEIR_HOST_PAIR_DEVICE_H

#include "host/state.h"

/* The backend that the options ask for. */
weir_status weir__device_check(const char *device, weir_err *err); /* its name only; NULL = "auto" */
weir_status weir__device_open(weir_engine *e, const weir_engine_options *o, int n_thread, weir_isa isa,
                              weir_err *err);

#endif /* WEIR_HOST_PAIR_DEVICE_H */
