#ifndef WEIR_HOST_MEASURE_TIMING_H
#define WEIR_HOST_MEASURE_TIMING_H

#include "kernels/backend.h"

/* The value below which a part `at` of v lies, 0 the least, 1 the largest; v gets sorted. */
double weir__quantile(double *v, int n, double at);

/* Bytes read and written a second by a copy inside the backend's memory, all its threads at work: the median
 * of `repeat` copies. 0: there is no memory for it, or it failed or was interrupted. */
double weir__copy_rate(weir_backend *be, size_t bytes, int repeat, const weir_interrupt *interrupt);

#endif /* WEIR_HOST_MEASURE_TIMING_H */
