#ifndef WEIR_KERNELS_LINEAR_ISA_AMX_TILES_H
#define WEIR_KERNELS_LINEAR_ISA_AMX_TILES_H

/* For the files that are compiled for AMX: the shapes of the eight tile registers. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { WEIR_TILE_REGISTER_ROWS = 16 };

typedef struct weir_tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} weir_tile_shapes;
_Static_assert(sizeof(weir_tile_shapes) == 64, "as ldtilecfg reads it");

/* For n_row rows, of which a tile takes k_bytes, and two panels of weights. Registers: 0 to 3 sums, 2 h + p
 * of row tile h and panel p; 4 and 5 rows; 6 and 7 weights, four bytes of k a row. Loading shapes takes 50
 * ns, as long as a small product; asking for those that are loaded takes 5. They are asked for every time,
 * since another library may use the tiles of this thread too. */
static inline void weir__tile_shape(int n_row, int k_bytes) {
    enum { R = WEIR_TILE_REGISTER_ROWS, SUM_BYTES = 64 };
    const int first = n_row < R ? n_row : R, second = n_row - first, k = k_bytes / 4;
    const int rows[8] = {first, first, second, second, first, second, k, k};
    _Alignas(64) weir_tile_shapes now, wanted = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        const int bytes = i == 4 || i == 5 ? k_bytes : SUM_BYTES;
        wanted.row_bytes[i] = (uint16_t)(rows[i] > 0 ? bytes : 0);
        wanted.rows[i] = (uint8_t)rows[i];
    }
    _tile_storeconfig(&now);
    if (memcmp(&now, &wanted, sizeof wanted) != 0) _tile_loadconfig(&wanted);
}

#endif /* WEIR_KERNELS_LINEAR_ISA_AMX_TILES_H */
