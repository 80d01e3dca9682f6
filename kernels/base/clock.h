#ifndef WEIR_KERNELS_BASE_CLOCK_H
#define WEIR_KERNELS_BASE_CLOCK_H

double weir__now(void); /* seconds, monotonic */

#endif /* WEIR_KERNELS_BASE_CLOCK_H */
