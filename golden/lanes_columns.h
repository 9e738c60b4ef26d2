// What belongs to the columns in lanes.cpp, the same for all sequences: tables, gains, errors, biases, keys.

#pragma once

#include "kernels.h"
#include "lanes_vectors.h"

#include <vector>

namespace {

#if VNNI == 512 && defined(__AVX512VBMI__)

// A table of 128 bytes.
struct Table {
    alignas(64) uint8_t entries[128];

    template <class Entry> explicit Table(Entry entry) {
        for (int64_t k = 0; k < 128; k++) entries[k] = uint8_t(entry(k));
    }

    // The entries of bytes; 0 for negative ones.
    Sums operator[](Sums index) const {
        const __m512i low = _mm512_load_si512(entries), high = _mm512_load_si512(entries + 64), at = __m512i(index);
        return Sums(_mm512_maskz_permutex2var_epi8(~_mm512_movepi8_mask(at), low, at, high));
    }
    V operator[](V index) const {
        return _mm512_castsi512_si256(__m512i((*this)[Sums(_mm512_castsi256_si512(index))]));
    }
};

#else

// A table of 128 bytes, by differences: part k is that of 16 entries, xor part k - 1. An index loses 16 for
// each part; a shuffle gives 0 once it is negative, so the parts up to the index's own add up to the entry.
struct Table {
    alignas(16) uint8_t parts[8][16];

    template <class Entry> explicit Table(Entry entry) {
        for (int64_t k = 0; k < 128; k++) parts[k / 16][k % 16] = uint8_t(entry(k) ^ (k < 16 ? 0 : entry(k - 16)));
    }

    // The entries of bytes; 0 for negative ones.
    V operator[](V index) const {
        V found = _mm256_setzero_si256();
        for (int k = 0; k < 8; k++) {
            const V part = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)parts[k]));
            found = _mm256_xor_si256(found, _mm256_shuffle_epi8(part, index));
            index = _mm256_subs_epi8(index, _mm256_set1_epi8(16));
        }
        return found;
    }
    Sums operator[](Sums index) const {
        Sums found;
        V *to = reinterpret_cast<V *>(&found);
        const V *at = reinterpret_cast<const V *>(&index);
        for (size_t half = 0; half < sizeof(Sums) / sizeof(V); half++) to[half] = (*this)[at[half]];
        return found;
    }
};

#endif

// Rounding of numbers of 32 bits by a shift, to numbers of 16 within limits.
struct Step {
    const __m128i shift;
    const V half, half16, low, high;

    Step(int64_t by, int64_t low, int64_t high)
        : shift(count(by)), half(set32((int64_t(1) << by) >> 1)), half16(set16((int64_t(1) << by) >> 1)), low(set16(low)),
          high(set16(high)) {}

    V operator()(Wide v) const {
        const V a = _mm256_sra_epi32(_mm256_add_epi32(v.a, half), shift);
        const V b = _mm256_sra_epi32(_mm256_add_epi32(v.b, half), shift);
        return clamp16(pack({a, b}), low, high);
    }
    // A sum that saturates is beyond the limits too.
    V operator()(V v) const { return clamp16(_mm256_sra_epi16(_mm256_adds_epi16(v, half16), shift), low, high); }
};

// What the blocks of a run share: numbers of columns, in groups of SLOTS.
struct Columns {
    const Layer &p;
    const int64_t each;           // rows whose products are added at once: of a pair, or of a quad
    std::vector<int64_t> places;  // (tiles + 1): first pair or quad of rows of each row tile
    const int64_t columns, groups, pairs;
    const bool once;   // each column has one table of 16 entries
    const bool bytes;  // the table of tanh(c) has 256 bytes
    const Table magnitudes, below, above;  // of draws; of tanh(c), for c < 0 and others
    const Step state, index, hidden;       // to c, to the index of its tanh, and to h
    Memory gain, add, key, bias, tables;

    explicit Columns(const Layer &p)
        : p(p), each(p.quads ? 4 : 2), columns(p.gates * p.units), groups((columns + SLOTS - 1) / SLOTS),
          pairs(paired(p, each, places)),
          once(p.tiles * p.planes == 1 && p.adc_high - p.adc_low < 16), bytes(p.lstm && in_bytes(p)),
          magnitudes([&](int64_t k) { return p.magnitudes[k]; }), below([&](int64_t k) { return tanh(k - 128); }),
          above([&](int64_t k) { return tanh(k); }), state(p.gate_bits, p.state_low, p.state_high),
          index(p.state_index_shift, p.state_index_low, p.state_index_high), hidden(p.hidden_shift, p.dac_low, p.dac_high),
          gain(groups * p.tiles * SLOTS * 4), add(gain.size()), key(2 * gain.size()), bias(groups * SLOTS * 4),
          tables(once ? groups * SLOTS * 32 : 0) {
        for (int64_t group = 0; group < groups; group++) {
            for (int64_t slot = 0; slot < SLOTS; slot++) {
                const int64_t k = column(group, slot);
                if (k >= 0) fill(group, slot, k);
            }
        }
    }

    // Number of a column, gate by gate; -1 where the last group has no unit.
    int64_t column(int64_t group, int64_t slot) const {
        if (p.gates == SLOTS) return slot * p.units + group;
        const int64_t unit = group * SLOTS + slot;
        return unit < p.units ? unit : -1;
    }
    // Position of row 0 of a row tile among values in lanes.
    int64_t place(int64_t tile) const { return each * places[tile]; }
    // What charges are multiplied by: 1 where gains are instead.
    int64_t unit() const { return p.quads && (p.noisy || p.inside) ? p.cell_unit : 1; }

  private:
    static bool in_bytes(const Layer &p) {
        if (p.state_index_low < -128 || p.state_index_high > 127) return false;
        for (int64_t k = p.state_index_low; k <= p.state_index_high; k++) {
            const int32_t entry = p.tanh_table[k - p.state_index_low];
            if (entry < -128 || entry > 127) return false;
        }
        return true;
    }

    int32_t tanh(int64_t index) const {
        if (!bytes || index < p.state_index_low || index > p.state_index_high) return 0;
        return p.tanh_table[index - p.state_index_low];
    }

    static int64_t paired(const Layer &p, int64_t each, std::vector<int64_t> &places) {
        int64_t pairs = 0;
        for (int64_t tile = 0; tile < p.tiles; tile++) {
            places.push_back(pairs);
            pairs += (p.tile_rows[tile + 1] - p.tile_rows[tile] + each - 1) / each;
        }
        places.push_back(pairs);
        return pairs;
    }

    // The lane's error without noise, and the half of rounding.
    int32_t error(int32_t offset) const {
        const int64_t right = p.error_shift > 0 ? p.error_shift : 0, left = p.error_shift < 0 ? -p.error_shift : 0;
        const int64_t e = ((offset + ((int64_t(1) << right) >> 1)) >> right) * (int64_t(1) << left);
        return int32_t(e + ((int64_t(1) << p.adc_shift) >> 1));
    }

    void fill(int64_t group, int64_t slot, int64_t k) {
        for (int64_t tile = 0; tile < p.tiles; tile++) {
            const int64_t at = (group * p.tiles + tile) * SLOTS + slot;
            gain.as<int32_t>()[at] = p.gain[tile * columns + k] * int32_t(p.quads ? p.cell_unit / unit() : 1);
            add.as<int32_t>()[at] = p.noisy ? p.offset[tile * columns + k] : error(p.offset[tile * columns + k]);
            key.as<uint32_t>()[2 * at] = p.keys[2 * tile * columns + k];
            key.as<uint32_t>()[2 * at + 1] = p.keys[(2 * tile + 1) * columns + k];
        }
        bias.as<int32_t>()[group * SLOTS + slot] = p.bias[k];
        if (!once) return;
        const int32_t *table = p.gate_tables + k / p.units * p.entries - p.index_low;
        int16_t *words = tables.as<int16_t>() + (group * SLOTS + slot) * 16;
        uint8_t *low = reinterpret_cast<uint8_t *>(words), *high = low + 16;
        for (int64_t code = p.adc_low; code <= p.adc_high; code++) {
            int64_t index = code * (int64_t(1) << p.frac) + p.bias[k];
            index = index < p.index_low ? p.index_low : index > p.index_high ? p.index_high : index;
            if (VNNI == 512) {  // by the code's last four bits
                words[code & 15] = int16_t(table[index]);
                continue;
            }
            low[code - p.adc_low] = uint8_t(table[index]);
            high[code - p.adc_low] = uint8_t(table[index] >> 8);
        }
    }
};

}  // namespace
