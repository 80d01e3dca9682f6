#ifndef WEIR_KERNELS_BASE_MIX_H
#define WEIR_KERNELS_BASE_MIX_H

#include <stdint.h>

/* A bijection that spreads each bit over all: splitmix64's finaliser (Steele, Lea, Flood 2014). */
static inline uint64_t weir__mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif /* WEIR_KERNELS_BASE_MIX_H */
