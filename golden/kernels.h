// Arguments of the kernels of a recurrent layer.

#pragma once

#include <cstdint>

// golden/native.py reads this declaration; each field is 8 bytes wide. Strides count elements. Stride 0: the next
// one overwrites the last one.
struct Layer {
    int64_t batch, steps, inputs, gates, units, entries;  // entries: size of a gate's table
    int64_t tiles, planes;
    // Strides of rows: to the next step, plane and sequence, and to -v. Of charge: to the next step, row tile,
    // plane and sequence.
    int64_t rows_step, rows_plane, rows_width, rows_negative;
    int64_t charge_step, charge_tile, charge_plane, charge_width;
    int64_t codes_sequence, codes_step, c_sequence, c_step;
    // Parameters with the names of the description.
    int64_t adc_shift, adc_low, adc_high, frac, index_low, index_high;
    int64_t gate_bits, state_low, state_high, state_index_shift, state_index_low, state_index_high;
    int64_t hidden_shift, dac_low, dac_high, bipolar, lstm;
    // Noise and errors of the macro.
    int64_t noisy, adc_noise, error_shift;
    // With `quads`: what all g+ - g- are multiples of; what makes values of rows unsigned; quads whose products add
    // up within 16 bits.
    int64_t cell_unit, row_offset, in_words;
    int64_t vectors;     // with injected noise
    int64_t in_cell;     // of these: only the gates' pre-activations, or every one of the cell; a further one is
                         // h before the next product
    double power_ratio;  // power of the injected noise relative to the signal
    const int64_t *tile_rows;     // (tiles + 1): first row of each row tile
    const int64_t *tile_places;   // (tiles): position of these rows in `rows`
    const uint32_t *runs;         // (batch)
    const uint8_t *magnitudes;    // (128)
    const uint32_t *keys;         // (tiles, 2, gates, units): key words; the first includes the column
    const uint32_t *read_noise;   // (tiles)
    const int32_t *offset;        // (tiles, gates, units), 64 * offset of the lane
    const int32_t *gain;          // (tiles, gates, units)
    const int32_t *bias;          // (gates, units)
    const int32_t *gate_tables;   // (gates, entries)
    const int32_t *tanh_table;    // (2^state_index_bits)
    const float *normal;          // (batch, steps, vectors, units), or null: pre-activations, gate
                                  // activations, c, h
    // Inputs and results of a step.
    const int16_t *x;             // (batch, steps, inputs)
    int32_t *codes;               // (batch, steps, gates, units), or (gates, units) overwritten
    int32_t *c;                   // (batch, steps, units), or (batch, units); without injected noise
    int16_t *h;                   // (batch, steps, units)
    uint8_t *inside;              // (steps, batch, planes, tiles, gates, units), or null: 1 where the
                                  // ADC did not saturate
    // Operands and results of the products:
    void *rows;                   // (steps + 1, planes, batch, inputs + units) Row: x_t and h_{t-1}
    void *charge;                 // (steps, tiles, planes, batch, gates, units) Real; `step` adds read
                                  // noise to it
    const uint8_t *cells;         // for `multiply`: (tiles, 2, columns / 16, rows / 64, 16, 16, 4), g+, g-
    const int16_t *pairs;         // for `run_lanes`: (columns / 4, pairs of rows, 4, 2), g+ - g-
    const int8_t *quads;          // or null: (columns / 4, quads of rows, 4, 4), (g+ - g-) / cell_unit
    const int32_t *quad_start;    // (columns / 4, tiles, 4): -row_offset times the sum of a column's cells
    // Gradients, for `run_back`, which replaces charge by its gradient.
    const void *weight;           // (gates, units, inputs + units) Real: g+ - g-, over the largest DAC code if there
                                  // are planes
    const void *slopes;           // (gates, entries) Real: slopes of gate_tables
    const void *tanh_slopes;      // (2^state_index_bits) Real: slopes of tanh_table
    const void *grad_h;           // (batch, steps, units) Real: from the next layer or the head
    double *grad_gain;            // (tiles, gates, units), accumulated
    double *grad_bias;            // (gates, units), accumulated
    double *grad_tables;          // (gates, entries), accumulated
    int32_t *scratch;             // 5 * gates * units
};
