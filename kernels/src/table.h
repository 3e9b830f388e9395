/* The functions that every variant compiles from the same text, for the inside of its table. */
.q4.tile = q4_tile, .q8.tile = q8_tile, .q4_1.tile = q4_1_tile, .q4k.tile = q4k_tile,
.q4n.tile = q4n_tile,
.f16_row = f16_row, .f32_row = f32_row,
.quantise = quantise, .rms_norm = rms_norm, .swiglu = swiglu, .attend = attend,
.to_half = to_half, .pack_q4 = pack_q4, .pack_q4n = pack_q4n, .pack_q8 = pack_q8,
