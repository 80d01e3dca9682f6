#ifndef WEIR_KERNELS_BASE_ISA_H
#define WEIR_KERNELS_BASE_ISA_H

/* Instruction sets the CPU backend has code for, weakest first. */
typedef enum weir_isa {
    WEIR_ISA_PORTABLE = 0,
    WEIR_ISA_AVX2 = 1,       /* AVX2, FMA, F16C */
    WEIR_ISA_AVX512 = 2,     /* AVX-512 F, BW, DQ, VL */
    WEIR_ISA_AVX512BF16 = 3, /* the above, AVX512_BF16 and _VNNI: decode rows multiply in bf16, quantised
                                weights by bytes */
    WEIR_ISA_AMX = 4,        /* the above, AMX_BF16 and AMX_INT8: rows multiply in tiles */
} weir_isa;

weir_isa weir__isa_best(void);            /* what this machine and its OS support */
const char *weir__isa_name(weir_isa isa); /* "portable", "avx2", "avx512", "avx512bf16", "amx" */
int weir__isa_parse(const char *name);    /* the value, or -1 */

#endif /* WEIR_KERNELS_BASE_ISA_H */
