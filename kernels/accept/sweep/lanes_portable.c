/* Baseline of the target: the readable truth that the others are tested against. */
#define WEIR_LANES_TABLE weir__lanes_portable
#include "kernels/accept/sweep/lanes_impl.h"
