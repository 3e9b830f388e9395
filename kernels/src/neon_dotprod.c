/* NEON with the dot product instruction (Cortex-A76, the Raspberry Pi 5). */
#include "tiles_dotprod.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

#include "panel_neon.h"

enum { PANEL_SLICES = 2 };

/* What a sum begins with, loaded: there are loads to spare, but no instructions on vectors. */
INLINE int32x4_t load_zero(void) {
    static const int32_t zeros[4];
    int32x4_t zero;
    __asm__ volatile("ldr %q0, %1" : "=w"(zero) : "m"(zeros));
    return zero;
}

/* Quad j of the four in of_x. All sums take turns, so that none waits for its last product. */
#define ADD_QUAD(j)                                                                                \
    for (int s = 0; s < PANEL_SLICES; s++) {                                                       \
        int8x16_t weight = panel_quad(quants, s, first + j);                                       \
        for (int t = 0; t < rows; t++) dot[s][t] = vdotq_laneq_s32(dot[s][t], weight, of_x[t], j); \
    }

INLINE void panel_dots(const int rows, const int8_t *quants,
                       const struct quantised_block *const x[], int b,
                       int32x4_t dot[PANEL_SLICES][PANEL_TILE_ROWS]) {
    for (int s = 0; s < PANEL_SLICES; s++)
        for (int t = 0; t < rows; t++) dot[s][t] = load_zero();
    for (int first = 0; first < QUADS; first += QUADS / 2) {
        int8x16_t of_x[PANEL_TILE_ROWS];
        for (int t = 0; t < rows; t++) of_x[t] = vld1q_s8(x[t][b].quant + first * QUAD);
        ADD_QUAD(0)
        ADD_QUAD(1)
        ADD_QUAD(2)
        ADD_QUAD(3)
    }
}

DEFINE_PANEL_TILE(plain_panel, PANEL_SLICES, PANEL_TILE_ROWS, panel_dots, 0)
DEFINE_PANEL_TILE(offset_panel, PANEL_SLICES, PANEL_TILE_ROWS, panel_dots, 1)

DEFINE_TILE(q4_tile, q4_dots, q4_dots)
DEFINE_TILE(q4n_tile, q4n_dots, q4n_dots)
DEFINE_TILE(q8_tile, q8_dots, q8_dots)
DEFINE_TILE(q4_1_tile, q4_1_dots, q4_1_dots)
DEFINE_TILE(q4k_tile, q4k_dots, q4k_dots)

const struct variant neon_dotprod_variant = {
    .name = "neon-dotprod",
    .tile_rows = 8,
#include "table.h"
    PANELS(plain_panel, plain_panel, offset_panel)
};
