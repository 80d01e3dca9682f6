#ifndef WEIR_KERNELS_BASE_CLOCK_H
#define WEIR_KERNELS_BASE_CLOCK_H

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds of a monotonic clock; only differences mean anything. */
double weir_seconds(void);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_BASE_CLOCK_H */
