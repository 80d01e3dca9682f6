#ifndef WEIR_KERNELS_LINEAR_AMX_TILES_H
#define WEIR_KERNELS_LINEAR_AMX_TILES_H

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

/* Register i has rows[i] rows of row_bytes[i] bytes; 0 rows: it is not used. Loading shapes takes 50 ns, as
 * long as a small product; asking for those that are loaded takes 5. They are asked for every time, since
 * another library may use the tiles of this thread too. */
static inline void weir__tile_shape(const int rows[8], const int row_bytes[8]) {
    _Alignas(64) weir_tile_shapes now, wanted = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        wanted.row_bytes[i] = (uint16_t)(rows[i] > 0 ? row_bytes[i] : 0);
        wanted.rows[i] = (uint8_t)rows[i];
    }
    _tile_storeconfig(&now);
    if (memcmp(&now, &wanted, sizeof wanted) != 0) _tile_loadconfig(&wanted);
}

#endif /* WEIR_KERNELS_LINEAR_AMX_TILES_H */
