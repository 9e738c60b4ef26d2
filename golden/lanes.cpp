// All steps of a recurrent layer in integers, forward: 16 sequences in the lanes of vectors.
//
// The same numbers as kernels.cpp and golden/layer.py; tests compare them. A block of 16 sequences goes
// through all steps: its rows, state and codes stay in the L1 cache, and what belongs to a column (cells,
// gain, bias, tables) is one number for all lanes. Products are of int16 pairs, summed in int32 (`vpmaddwd`); or
// of bytes, four rows at once (`vpdpbusd`), if all cells are small multiples of one number, as equally spaced
// levels are. Every product is exact, and golden/products.py takes this path only if every sum is.
//
// With injected noise a step first converts all columns, because the noise of a vector is relative to the mean
// square of all its units.
//
// lanes_vectors.h has the vectors, lanes_columns.h what belongs to columns; here is a block of sequences.
//
// If a column is converted once, by 4 bits or less, ADC and gate table become one table of 16 entries per
// column, looked up by shuffles.

#include "kernels.h"

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include "lanes_columns.h"

#include <atomic>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

namespace {

// A block of up to LANES sequences, from `first`.
class Block {
  public:
    Block(const Columns &of)
        : p(of.p), of(of), values((of.each * of.pairs + 8) * LANES * 2), driven(p.planes * of.pairs * 64),
          inputs((p.inputs + 7) / 8 * 8 * LANES * 2), h((p.units + SLOTS + 7) / 8 * 8 * LANES * 2),
          c((p.units + 8) * LANES * 2), index(c.size()), tanh(c.size()), output(c.size()),
          fed(feeds() ? h.size() : 0), entries(p.normal ? (of.columns + 8) * LANES * 2 : 0),
          noisy(every() ? 2 * entries.size() : 0), noisy_c(every() ? c.size() : 0),
          codes((of.columns + 8) * LANES * 2), charges(p.inside ? (parts() * of.columns + 8) * LANES * 4 : 0),
          inside(charges.size() / 2), ahead(p.planes * p.tiles * int64_t(sizeof(Wide[SLOTS]))) {}

    void run(int64_t first_, int64_t count_) {
        first = first_;
        sequences = count_;
        std::memset(c.as<char>(), 0, size_t(p.units * LANES * 2));
        if (every()) std::memset(noisy_c.as<char>(), 0, size_t(p.units * LANES * 2));
        for (int64_t unit = 0; unit < p.units; unit++) {
            store(h.as<int16_t>() + unit * LANES, set16(p.bipolar ? 1 : 0));
            store(rows_of_h().as<int16_t>() + unit * LANES, set16(p.bipolar ? 1 : 0));
        }
        for (int64_t t = 0; t < p.steps; t++) {
            take_inputs(t);
            drive();
            if (p.inside) give_rows(t);
            if (p.noisy)
                p.inside ? step<true, true>(t) : step<true, false>(t);
            else
                p.inside ? step<false, true>(t) : step<false, false>(t);
            give(t);
        }
    }

  private:
    const Layer &p;
    const Columns &of;
    Memory values;  // (pairs, 2, LANES) or (quads, 4, LANES) int16: x and h
    Memory driven;  // (planes, pairs, Wide): values of two rows side by side, or bytes of four
    Memory inputs;  // (inputs, LANES) int16
    Memory h;       // (units, LANES) int16
    Memory c;       // (units, LANES) int16
    Memory index, tanh, output;  // as c: index of the table of tanh(c), its entry, gate o
    Memory fed;             // (units, LANES) int16: h with noise of its own, or none
    Memory entries;         // (columns, LANES) int16: of gate tables, with injected noise before them
    Memory noisy;           // (columns, Wide): entries with noise of their own; then products of a cell
    Memory noisy_c;         // (units, LANES) int16: c with noise of its own
    Memory codes;           // (columns, LANES) int16
    Memory charges, inside; // (planes, tiles, columns, LANES) float and int16
    Memory ahead;           // (planes, tiles, SLOTS, Wide): charge of the group after an even one
    int64_t first = 0, sequences = 0;

    // Whether h has noise of its own before the next product; whether every vector of a cell has.
    bool feeds() const { return p.normal && p.in_cell < p.vectors; }
    bool every() const { return p.normal && p.in_cell > p.gates; }
    // h as it goes into the next product.
    const Memory &rows_of_h() const { return feeds() ? fed : h; }

    void take_inputs(int64_t t) {
        int16_t *to = inputs.as<int16_t>();
        const int64_t stride = p.steps * p.inputs, whole = p.inputs / 8 * 8;
        const int16_t *from = p.x + (first * p.steps + t) * p.inputs;
        for (int64_t n = 0; n < LANES; n += 8) {
            if (n + 8 <= sequences) {
                for (int64_t k = 0; k < whole; k += 8) {
                    __m128i eight[8];
                    transpose(from + n * stride + k, stride, eight);
                    for (int64_t m = 0; m < 8; m++) write(to + (k + m) * LANES + n, eight[m]);
                }
                for (int64_t k = whole; k < p.inputs; k++)
                    for (int64_t m = n; m < n + 8; m++) to[k * LANES + m] = from[m * stride + k];
            } else {
                for (int64_t k = 0; k < p.inputs; k++)
                    for (int64_t m = n; m < sequences; m++) to[k * LANES + m] = from[m * stride + k];
            }
        }
    }

    // Write x and h to their places, and pairs or quads of rows to `driven`.
    void drive() {
        int16_t *v = values.as<int16_t>();
        const int16_t *of_h = rows_of_h().as<int16_t>();
        for (int64_t tile = 0; tile < p.tiles; tile++) {
            int16_t *to = v + of.place(tile) * LANES;
            for (int64_t row = p.tile_rows[tile]; row < p.tile_rows[tile + 1]; row++, to += LANES) {
                const int64_t unit = row - p.inputs;
                store(to, load(unit < 0 ? inputs.as<int16_t>() + row * LANES : of_h + unit * LANES));
            }
        }
        Wide *to = driven.as<Wide>();
        for (int64_t plane = 0; plane < p.planes; plane++) {
            const __m128i bit = count(p.planes - 1 - plane);
            for (int64_t quad = 0; p.quads && quad < of.pairs; quad++, to++) {
                V two[2];
                for (int64_t k = 0; k < 2; k++) {
                    const V low = unsigned_of(load(v + (4 * quad + 2 * k) * LANES), bit);
                    const V high = unsigned_of(load(v + (4 * quad + 2 * k + 1) * LANES), bit);
                    two[k] = _mm256_or_si256(low, _mm256_slli_epi16(high, 8));
                }
                const Wide both = interleave(two[0], two[1]);
                store(&to->a, both.a);
                store(&to->b, both.b);
            }
            for (int64_t pair = 0; !p.quads && pair < of.pairs; pair++, to++) {
                V even = load(v + 2 * pair * LANES), odd = load(v + (2 * pair + 1) * LANES);
                if (p.planes > 1) {
                    even = plane_of(even, bit);
                    odd = plane_of(odd, bit);
                }
                const Wide both = interleave(even, odd);
                store(&to->a, both.a);
                store(&to->b, both.b);
            }
        }
    }

    // The value on a row, or its plane, in a byte without a sign.
    V unsigned_of(V v, __m128i bit) const {
        return _mm256_add_epi16(p.planes > 1 ? plane_of(v, bit) : v, set16(p.row_offset));
    }

    // One bit of the magnitude, with the sign.
    static V plane_of(V v, __m128i bit) {
        const V size = _mm256_srl_epi16(_mm256_abs_epi16(v), bit);
        return _mm256_sign_epi16(_mm256_and_si256(size, set16(1)), v);
    }

    // Words a and b of the draws, in all lanes.
    void counters(int64_t number, Wide &a, Wide &b) const {
        alignas(32) uint32_t words[2][LANES];
        for (int64_t lane = 0; lane < LANES; lane++) {
            const int64_t n = lane < sequences ? first + lane : first;
            // The order of Wide: 0..3, 8..11, 4..7, 12..15.
            const int64_t at = (lane & 3) + (lane & 8) / 2 + (lane & 4) * 2;
            words[0][at] = p.runs[n] * 0x9E3779B1u + uint32_t(number) * 0x85EBCA77u;
            words[1][at] = p.runs[n] * 0x27D4EB2Fu + uint32_t(number) * 0x165667B1u;
        }
        a = {load(words[0]), load(words[0] + 8)};
        b = {load(words[1]), load(words[1] + 8)};
    }

    int64_t parts() const { return p.planes * p.tiles; }

    // Two draws per lane: of read noise and of the ADC.
    void draw(Words a, Words b, uint32_t first_key, uint32_t second_key, Sums &read, Sums &adc) const {
        Words w = a + first_key;
        w ^= w >> 16;
        w *= 0x7FEB352Du;
        w += b + second_key;
        w ^= w >> 15;
        w *= 0x846CA68Bu;
        w ^= w >> 16;
        // Each byte selects one of 128 magnitudes; its top bit is the sign.
        const Sums pairs = add_signed(of.magnitudes[Sums(w & 0x7F7F7F7Fu)], w);
        adc = pairs >> 16;
        read = Sums(Words(pairs) << 16) >> 16;
    }

    // Charge of the columns of a group in a row tile; with bytes, divided by `cell_unit`.
    void multiply(int64_t group, int64_t tile, int64_t plane, Wide (&q)[SLOTS]) const {
#if VNNI == 512
        Wide *next = ahead.as<Wide>() + (plane * p.tiles + tile) * SLOTS;
        if (group % 2)  // found with the group before
            std::memcpy(q, next, sizeof q);
        else if (p.quads)
            multiply_two<add_quads>(group, tile, plane, q, next);
        else
            multiply_two<add_pairs>(group, tile, plane, q, next);
#else
        p.quads ? multiply_bytes(group, tile, plane, q) : multiply_pairs(group, tile, plane, q);
#endif
    }

#if VNNI == 512
    // The charge of a group and of the next one, if there is one. Not inlined: its sums then stay in registers.
    template <void (*add)(__m512i &, __m512i, const int32_t *)>
    [[gnu::noinline]] void multiply_two(int64_t group, int64_t tile, int64_t plane, Wide *q, Wide *next) const {
        const int64_t place = of.places[tile], more = group + 1 < of.groups;
        const int32_t *cells = reinterpret_cast<const int32_t *>(p.quads ? static_cast<const void *>(p.quads) : p.pairs)
            + (group * of.pairs + place) * SLOTS;
        static const int32_t zeros[SLOTS] = {};
        const int32_t *start = p.quads ? p.quad_start + (group * p.tiles + tile) * SLOTS : zeros;
        const Group one = {cells, start};
        const Group two = {cells + more * of.pairs * SLOTS, start + (p.quads ? more * p.tiles * SLOTS : 0)};
        const Wide *row = driven.as<Wide>() + plane * of.pairs + place;
        multiply_512<add>(one, two, row, of.places[tile + 1] - place, q, next);
    }
#else
    // With pairs. Not inlined: its sums then stay in registers.
    [[gnu::noinline]] void multiply_pairs(int64_t group, int64_t tile, int64_t plane, Wide (&q)[SLOTS]) const {
        const int16_t *cell = p.pairs + (group * of.pairs + of.places[tile]) * SLOTS * 2;
        const Wide *row = driven.as<Wide>() + plane * of.pairs + of.places[tile];
        const int64_t pairs = of.places[tile + 1] - of.places[tile];
        const V zero = _mm256_setzero_si256();
        V a0 = zero, a1 = zero, a2 = zero, a3 = zero, b0 = zero, b1 = zero, b2 = zero, b3 = zero;
#pragma GCC unroll 4
        for (int64_t k = 0; k < pairs; k++, cell += 2 * SLOTS, row++) {
            const V a = load(&row->a), b = load(&row->b);
            multiply_add(a0, b0, a, b, cell);
            multiply_add(a1, b1, a, b, cell + 2);
            multiply_add(a2, b2, a, b, cell + 4);
            multiply_add(a3, b3, a, b, cell + 6);
        }
        q[0] = {a0, b0};
        q[1] = {a1, b1};
        q[2] = {a2, b2};
        q[3] = {a3, b3};
    }

    // The same with bytes, divided by `cell_unit`.
    [[gnu::noinline]] void multiply_bytes(int64_t group, int64_t tile, int64_t plane, Wide (&q)[SLOTS]) const {
        const int8_t *cell = p.quads + (group * of.pairs + of.places[tile]) * SLOTS * 4;
        const Wide *row = driven.as<Wide>() + plane * of.pairs + of.places[tile];
        const int32_t *start = p.quad_start + (group * p.tiles + tile) * SLOTS;
        const V zero = _mm256_setzero_si256();
        for (int slot = 0; slot < SLOTS; slot++) q[slot] = {set32(start[slot]), set32(start[slot])};
        for (int64_t left = of.places[tile + 1] - of.places[tile]; left > 0;) {
            const int64_t quads = VNNI || left < p.in_words ? left : p.in_words;
            left -= quads;
            V a0 = zero, a1 = zero, a2 = zero, a3 = zero, b0 = zero, b1 = zero, b2 = zero, b3 = zero;
#pragma GCC unroll 4
            for (int64_t k = 0; k < quads; k++, cell += 4 * SLOTS, row++) {
                const V a = load(&row->a), b = load(&row->b);
                multiply_add_bytes(a0, b0, a, b, cell);
                multiply_add_bytes(a1, b1, a, b, cell + 4);
                multiply_add_bytes(a2, b2, a, b, cell + 8);
                multiply_add_bytes(a3, b3, a, b, cell + 12);
            }
            add_up(q[0], a0, b0);
            add_up(q[1], a1, b1);
            add_up(q[2], a2, b2);
            add_up(q[3], a3, b3);
        }
    }

    static void add_up(Wide &sum, V a, V b) {
        if (!VNNI) {  // two sums of 16 bits in each lane
            a = _mm256_madd_epi16(a, set16(1));
            b = _mm256_madd_epi16(b, set16(1));
        }
        sum = {_mm256_add_epi32(sum.a, a), _mm256_add_epi32(sum.b, b)};
    }
#endif

    template <bool noisy, bool learns> void step(int64_t t) {
        const V low = set16(p.adc_low), high = set16(p.adc_high);
        const int shift = int(p.adc_shift), right = p.error_shift > 0 ? int(p.error_shift) : 0;
        const int left = p.error_shift < 0 ? int(-p.error_shift) : 0;
        const int32_t half = int32_t((int64_t(1) << shift) >> 1), error_half = int32_t((int64_t(1) << right) >> 1);
        const int32_t adc_noise = int32_t(p.adc_noise), unit = int32_t(of.unit());
        Wide run_a[8], run_b[8];
        if (noisy) for (int64_t plane = 0; plane < p.planes; plane++) counters(t * p.planes + plane, run_a[plane], run_b[plane]);
        V entry[SLOTS];
        for (int64_t group = 0; group < of.groups; group++) {
            V total[SLOTS];
            for (int64_t slot = 0; slot < SLOTS; slot++) total[slot] = _mm256_setzero_si256();
            for (int64_t plane = 0; plane < p.planes; plane++) {
                for (int64_t slot = 0; slot < SLOTS; slot++) total[slot] = _mm256_slli_epi16(total[slot], 1);
                for (int64_t tile = 0; tile < p.tiles; tile++) {
                    Wide q[SLOTS];
                    multiply(group, tile, plane, q);
                    const int64_t at = (group * p.tiles + tile) * SLOTS;
                    for (int64_t slot = 0; slot < SLOTS; slot++) {
                        const int32_t gain = of.gain.as<int32_t>()[at + slot];
                        Wide codes;
                        for (int part = 0; part < PARTS; part++) {
                            Sums &charge = parts_of(q[slot])[part];
                            Sums e = Sums{} + of.add.as<int32_t>()[at + slot];
                            if (noisy || learns) charge *= unit;
                            if (noisy) {
                                const uint32_t *key = of.key.as<uint32_t>() + 2 * (at + slot);
                                const Wide &a = run_a[plane], &b = run_b[plane];
                                Sums read, adc;
                                draw(parts_of(a)[part], parts_of(b)[part], key[0], key[1], read, adc);
                                charge += (read * int32_t(p.read_noise[tile]) + 512) >> 10;
                                e = (((e + error_half + adc * adc_noise) >> right) << left) + half;
                            }
                            parts_of(codes)[part] = (charge * gain + e) >> shift;
                        }
                        const V exact = pack(codes), code = clamp16(exact, low, high);
                        if (learns) keep_conversion(group, slot, plane * p.tiles + tile, q[slot], exact, code);
                        total[slot] = _mm256_add_epi16(total[slot], code);
                    }
                }
            }
            if (p.codes_step || p.normal) keep_codes(group, total);
            if (p.normal) continue;
            look_up(group, total, entry);
            p.lstm ? lstm(group, entry) : rnn(group, entry);
        }
        if (every()) {
            noisy_cell(t);
            return;
        }
        if (p.normal) {
            for (int64_t gate = 0; gate < p.gates; gate++) look_up_noisy(t, gate);
            for (int64_t group = 0; group < of.groups; group++) {
                for (int64_t slot = 0; slot < SLOTS; slot++) {
                    const int64_t k = of.column(group, slot);
                    entry[slot] = load(entries.as<int16_t>() + (k < 0 ? 0 : k) * LANES);
                }
                p.lstm ? lstm(group, entry) : rnn(group, entry);
            }
        }
        if (p.lstm) {
            look_up_tanh();
            outputs();
        }
        if (feeds()) feed(t);
    }

    // Pre-activations of a column.
    Wide pre_activations(int64_t k) const {
        const Wide code = unpack(load(codes.as<int16_t>() + k * LANES));
        const V bias = set32(p.bias[k]);
        const __m128i frac = count(p.frac);
        return {_mm256_add_epi32(_mm256_sll_epi32(code.a, frac), bias), _mm256_add_epi32(_mm256_sll_epi32(code.b, frac), bias)};
    }

    // Let `each(unit, noise)` see injected noise of all units: normal numbers of a vector, times the root of
    // `value`'s mean square over the units and of the ratio.
    template <class Value, class Each> void inject(int64_t t, int64_t vector, Value value, Each each) const {
        Real power = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()}, scale, v;
        for (int64_t unit = 0; unit < p.units; unit++) {
            to_real(value(unit), v);
            for (int k = 0; k < 4; k++) power[k] = _mm256_add_pd(power[k], _mm256_mul_pd(v[k], v[k]));
        }
        const __m256d units = _mm256_set1_pd(double(p.units)), ratio = _mm256_set1_pd(p.power_ratio);
        for (int k = 0; k < 4; k++) {
            const __m256d mean = _mm256_mul_pd(_mm256_div_pd(power[k], units), ratio);
            scale[k] = _mm256_sqrt_pd(_mm256_add_pd(mean, _mm256_set1_pd(1e-6)));
        }
        __m256 z[2][8];
        for (int64_t unit = 0; unit < p.units; unit++) {
            if (unit % 8 == 0) {
                const int64_t some = p.units - unit < 8 ? p.units - unit : 8;
                for (int64_t lane = 0; lane < LANES; lane++) {
                    const int64_t n = first + (lane < sequences ? lane : 0);
                    const float *from = p.normal + ((n * p.steps + t) * p.vectors + vector) * p.units + unit;
                    float rest[8] = {};
                    if (some < 8) from = static_cast<float *>(std::memcpy(rest, from, size_t(some) * sizeof(float)));
                    z[lane / 8][lane % 8] = _mm256_loadu_ps(from);
                }
                transpose(z[0]);
                transpose(z[1]);
            }
            Real noise;
            for (int k = 0; k < 4; k++) {
                const __m256 eight = z[k / 2][unit % 8];
                const __m128 four = k % 2 ? _mm256_extractf128_ps(eight, 1) : _mm256_castps256_ps128(eight);
                noise[k] = _mm256_mul_pd(_mm256_cvtps_pd(four), scale[k]);
            }
            each(unit, noise);
        }
    }

    // Entries of a gate's table, with noise on the pre-activations.
    void look_up_noisy(int64_t t, int64_t gate) const {
        const int32_t *table = p.gate_tables + gate * p.entries - p.index_low;
        const V least = set32(p.index_low), most = set32(p.index_high);
        const auto value = [&](int64_t unit) { return pre_activations(gate * p.units + unit); };
        inject(t, gate, value, [&](int64_t unit, const Real &noise) {
            const Wide index = with(value(unit), noise);
            const V a = _mm256_i32gather_epi32(table, clamp32(index.a, least, most), 4);
            const V b = _mm256_i32gather_epi32(table, clamp32(index.b, least, most), 4);
            store(entries.as<int16_t>() + (gate * p.units + unit) * LANES, pack({a, b}));
        });
    }

    // A cell with noise on every vector.
    void noisy_cell(int64_t t) const {
        Wide *own = noisy.as<Wide>();
        for (int64_t gate = 0; gate < p.gates; gate++) {
            look_up_noisy(t, gate);
            const int16_t *entry = entries.as<int16_t>() + gate * p.units * LANES;
            const auto value = [&](int64_t unit) { return unpack(load(entry + unit * LANES)); };
            inject(t, p.gates + gate, value, [&](int64_t unit, const Real &noise) {
                own[gate * p.units + unit] = with(value(unit), noise);
            });
        }
        if (!p.lstm) {
            for (int64_t unit = 0; unit < p.units; unit++) feed_back(unit, own[unit]);
            return;
        }
        int16_t *state = c.as<int16_t>(), *noisy_state = noisy_c.as<int16_t>(), *at = index.as<int16_t>();
        for (int64_t unit = 0; unit < p.units; unit++) {
            const Wide before = unpack(load(noisy_state + unit * LANES));
            const Wide kept = times(own[p.units + unit], before), added = times(own[unit], own[2 * p.units + unit]);
            const Wide next = {_mm256_add_epi32(kept.a, added.a), _mm256_add_epi32(kept.b, added.b)};
            store(state + unit * LANES, of.state(next));
        }
        const auto value = [&](int64_t unit) { return unpack(load(state + unit * LANES)); };
        inject(t, 2 * p.gates, value, [&](int64_t unit, const Real &noise) {
            const V after = clamp16(pack(with(value(unit), noise)), of.state.low, of.state.high);
            store(noisy_state + unit * LANES, after);
            store(at + unit * LANES, of.index(after));
        });
        look_up_tanh();
        for (int64_t unit = 0; unit < p.units; unit++)
            own[unit] = times(own[3 * p.units + unit], unpack(load(tanh.as<int16_t>() + unit * LANES)));
        const auto product = [&](int64_t unit) { return own[unit]; };
        inject(t, 2 * p.gates + 1, product, [&](int64_t unit, const Real &noise) {
            feed_back(unit, with(own[unit], noise));
        });
    }

    // Numbers with noise, rounded.
    static Wide with(Wide value, const Real &noise) {
        Real v;
        to_real(value, v);
        for (int k = 0; k < 4; k++) v[k] = _mm256_add_pd(v[k], noise[k]);
        return rounded(v);
    }

    static Wide times(Wide left, Wide right) {
        return {_mm256_mullo_epi32(left.a, right.a), _mm256_mullo_epi32(left.b, right.b)};
    }

    // h with noise, as DAC codes.
    void feed(int64_t t) const {
        const auto value = [&](int64_t unit) { return unpack(load(h.as<int16_t>() + unit * LANES)); };
        inject(t, p.in_cell, value, [&](int64_t unit, const Real &noise) {
            Real v;
            to_real(value(unit), v);
            for (int k = 0; k < 4; k++) v[k] = _mm256_add_pd(v[k], noise[k]);
            Wide codes_of_h = rounded(v);
            if (p.bipolar) {  // signs, before rounding
                const __m256d zero = _mm256_setzero_pd(), one = _mm256_set1_pd(1), minus = _mm256_set1_pd(-1);
                for (int k = 0; k < 4; k++) v[k] = _mm256_blendv_pd(minus, one, _mm256_cmp_pd(v[k], zero, _CMP_GE_OQ));
                codes_of_h = rounded(v);
            }
            const V least = set32(p.dac_low), most = set32(p.dac_high);
            const Wide within = {clamp32(codes_of_h.a, least, most), clamp32(codes_of_h.b, least, most)};
            store(fed.as<int16_t>() + unit * LANES, pack(within));
        });
    }

    // Entries of the gate tables.
    void look_up(int64_t group, const V (&code)[SLOTS], V (&entry)[SLOTS]) const {
        if (of.once) {
            const V first_code = set16(p.adc_low), to_low = set16(0x8000), to_high = set16(0x0080);
            for (int64_t slot = 0; slot < SLOTS; slot++) {
#if VNNI == 512
                entry[slot] = _mm256_permutexvar_epi16(code[slot], of.tables.as<V>()[group * SLOTS + slot]);
                continue;
#endif
                const V index = _mm256_sub_epi16(code[slot], first_code);
                const __m128i *table = of.tables.as<__m128i>() + 2 * (group * SLOTS + slot);
                const V low = _mm256_broadcastsi128_si256(_mm_load_si128(table));
                const V high = _mm256_broadcastsi128_si256(_mm_load_si128(table + 1));
                const V of_low = _mm256_shuffle_epi8(low, _mm256_or_si256(index, to_low));
                const V of_high = _mm256_shuffle_epi8(high, _mm256_or_si256(_mm256_slli_epi16(index, 8), to_high));
                entry[slot] = _mm256_or_si256(of_low, of_high);
            }
            return;
        }
        const V least = set32(p.index_low), most = set32(p.index_high);
        const __m128i frac = count(p.frac);
        for (int64_t slot = 0; slot < SLOTS; slot++) {
            const V bias = set32(of.bias.as<int32_t>()[group * SLOTS + slot]);
            const int32_t *table = p.gate_tables + (p.lstm ? slot : 0) * p.entries - p.index_low;
            Wide index = unpack(code[slot]);
            V *lanes = &index.a;
            for (int part = 0; part < 2; part++) {
                const V a = _mm256_add_epi32(_mm256_sll_epi32(lanes[part], frac), bias);
                lanes[part] = _mm256_i32gather_epi32(table, clamp32(a, least, most), 4);
            }
            entry[slot] = pack(index);
        }
    }

    void lstm(int64_t unit, const V (&gate)[SLOTS]) const {
        int16_t *own = c.as<int16_t>() + unit * LANES;
        const V before = load(own), i = gate[0], f = gate[1], g = gate[2], o = gate[3];
        const Wide gates = interleave(f, i), by = interleave(before, g);
        const V state = of.state(Wide{_mm256_madd_epi16(gates.a, by.a), _mm256_madd_epi16(gates.b, by.b)});
        store(own, state);
        store(index.as<int16_t>() + unit * LANES, of.index(state));
        store(output.as<int16_t>() + unit * LANES, o);
    }

    // Entries of the table of tanh(c) for all units. Apart from the rest of the step: a look-up lane by lane
    // stores single numbers, which cannot be loaded as a vector at once.
    void look_up_tanh() const {
        const int16_t *at = index.as<int16_t>();
        int16_t *found = tanh.as<int16_t>();
        if (of.bytes) {
            for (int64_t k = 0; k < p.units * LANES; k += 2 * LANES) {  // the last of an odd number is padding
                const V two = _mm256_packs_epi16(load(at + k), load(at + k + LANES));
                const V up = of.above[two], down = of.below[_mm256_xor_si256(two, _mm256_set1_epi8(char(0x80)))];
                const V entry = _mm256_or_si256(up, down);
                store(found + k, _mm256_srai_epi16(_mm256_unpacklo_epi8(entry, entry), 8));
                store(found + k + LANES, _mm256_srai_epi16(_mm256_unpackhi_epi8(entry, entry), 8));
            }
            return;
        }
        const int32_t *table = p.tanh_table - p.state_index_low;
        for (int64_t k = 0; k < p.units * LANES; k++) found[k] = int16_t(table[at[k]]);
    }

    // h of all units.
    void outputs() const {
        const int16_t *found = tanh.as<int16_t>();
        const V zero = _mm256_setzero_si256();
        for (int64_t unit = 0; unit < p.units; unit++) {
            const Wide left = interleave(load(output.as<int16_t>() + unit * LANES), zero);
            const Wide right = interleave(load(found + unit * LANES), zero);
            feed_back(unit, {_mm256_madd_epi16(left.a, right.a), _mm256_madd_epi16(left.b, right.b)});
        }
    }

    void rnn(int64_t group, const V (&entry)[SLOTS]) const {
        for (int64_t slot = 0; slot < SLOTS; slot++) feed_back(group * SLOTS + slot, unpack(entry[slot]));
    }

    void feed_back(int64_t unit, Wide product) const {
        V code;
        if (p.bipolar) {
            const V negative = pack({_mm256_srai_epi32(product.a, 31), _mm256_srai_epi32(product.b, 31)});
            code = _mm256_or_si256(negative, set16(1));
        } else {
            code = of.hidden(product);
        }
        store(h.as<int16_t>() + unit * LANES, code);
    }

    void keep_codes(int64_t group, const V (&code)[SLOTS]) const {
        for (int64_t slot = 0; slot < SLOTS; slot++) {
            const int64_t k = of.column(group, slot);
            if (k >= 0) store(codes.as<int16_t>() + k * LANES, code[slot]);
        }
    }

    // What the gradient of a conversion needs: its charge, and whether the ADC did not saturate.
    void keep_conversion(int64_t group, int64_t slot, int64_t part, Wide q, V exact, V code) const {
        const int64_t k = of.column(group, slot);
        if (k < 0) return;
        const __m256 a = _mm256_cvtepi32_ps(q.a), b = _mm256_cvtepi32_ps(q.b);
        float *to = charges.as<float>() + (part * of.columns + k) * LANES;
        _mm256_store_ps(to, _mm256_permute2f128_ps(a, b, 0x20));
        _mm256_store_ps(to + 8, _mm256_permute2f128_ps(a, b, 0x31));
        store(inside.as<int16_t>() + (part * of.columns + k) * LANES, _mm256_cmpeq_epi16(exact, code));
    }

    // Write numbers in lanes, (count, LANES), to the sequences of the block, which are `stride` apart.
    template <class From, class To> void spread(const From *from, int64_t count, To *to, int64_t stride) const {
        std::conditional_t<std::is_same_v<From, float>, __m256, __m128i> eight[8];
        for (int64_t n = 0; n < sequences; n += 8) {
            const int64_t some = sequences - n < 8 ? sequences - n : 8;
            for (int64_t k = 0; k < count; k += 8) {
                transpose(from + k * LANES + n, LANES, eight);
                for (int64_t m = 0; m < some; m++) {
                    To *own = to + (n + m) * stride + k;
                    if (k + 8 <= count) {
                        write(own, eight[m]);
                    } else {
                        To rest[8];
                        write(rest, eight[m]);
                        std::memcpy(own, rest, size_t(count - k) * sizeof(To));
                    }
                }
            }
        }
    }

    // x and h of the step before, or their planes.
    void give_rows(int64_t t) const {
        for (int64_t plane = 0; plane < p.planes; plane++) {
            float *to = static_cast<float *>(p.rows) + t * p.rows_step + plane * p.rows_plane + first * p.rows_width;
            const __m128i bit = count(p.planes - 1 - plane);
            for (const Memory *from : {&inputs, &rows_of_h()}) {
                const int64_t rows = from == &inputs ? p.inputs : p.units;
                const int16_t *own = from->as<int16_t>();
                if (p.planes > 1) {
                    int16_t *bits = values.as<int16_t>();
                    for (int64_t k = 0; k < rows; k++) store(bits + k * LANES, plane_of(load(own + k * LANES), bit));
                    own = bits;
                }
                spread(own, rows, to + (from == &inputs ? 0 : p.inputs), p.rows_width);
            }
        }
    }

    // Write the results of a step.
    void give(int64_t t) const {
        spread(h.as<int16_t>(), p.units, p.h + (first * p.steps + t) * p.units, p.steps * p.units);
        if (!p.codes_step) return;
        spread(codes.as<int16_t>(), of.columns, p.codes + first * p.codes_sequence + t * p.codes_step, p.codes_sequence);
        if (p.lstm) spread(c.as<int16_t>(), p.units, p.c + first * p.c_sequence + t * p.c_step, p.c_sequence);
        if (!p.inside) return;
        for (int64_t plane = 0; plane < p.planes; plane++) {
            for (int64_t tile = 0; tile < p.tiles; tile++) {
                const int64_t part = plane * p.tiles + tile, parts = p.planes * p.tiles;
                float *charge = static_cast<float *>(p.charge) + t * p.charge_step + tile * p.charge_tile
                    + plane * p.charge_plane + first * p.charge_width;
                spread(charges.as<float>() + part * of.columns * LANES, of.columns, charge, p.charge_width);
                uint8_t *fits = p.inside + ((t * p.batch + first) * parts + part) * of.columns;
                spread(inside.as<int16_t>() + part * of.columns * LANES, of.columns, fits, parts * of.columns);
            }
        }
    }
};

}  // namespace

extern "C" {
int64_t lanes() { return LANES; }
int64_t vnni() { return VNNI; }

// Run all steps of a layer.
void run_lanes(const Layer *p, int64_t threads) {
    const Columns columns(*p);
    const int64_t blocks = (p->batch + LANES - 1) / LANES;
    std::atomic<int64_t> next{0};
    const auto work = [&] {
        Block block(columns);
        for (int64_t n; (n = next++) < blocks;) {
            const int64_t first = n * LANES, left = p->batch - first;
            block.run(first, left < LANES ? left : LANES);
        }
    };
    std::vector<std::thread> others;
    for (int64_t n = 1; n < threads && n < blocks; n++) others.emplace_back(work);
    work();
    for (auto &other : others) other.join();
}
}

#else

extern "C" {
int64_t lanes() { return 0; }
int64_t vnni() { return 0; }
void run_lanes(const Layer *, int64_t) {}
}

#endif
