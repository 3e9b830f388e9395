/* NEON with the dot product instruction (Cortex-A76, the Raspberry Pi 5). */
#include "tiles_dotprod.h"

#include "attention.h"
#include "pack.h"
#include "plain_rows.h"

DEFINE_TILE(q4_tile, q4_dots, q4_dots)
DEFINE_TILE(q4n_tile, q4n_dots, q4n_dots)
DEFINE_TILE(q8_tile, q8_dots, q8_dots)
DEFINE_TILE(q4_1_tile, q4_1_dots, q4_1_dots)
DEFINE_TILE(q4k_tile, q4k_dots, q4k_dots)

const struct variant neon_dotprod_variant = {
    .name = "neon-dotprod",
    .tile_rows = 8,
#include "table.h"
};
