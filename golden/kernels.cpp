// One step of a recurrent layer in integers, forward and backward (docs/contract.md, 4 to 7 and 10).
//
// golden/fast.py does the products and calls `step` between them; golden/layer.py, adc.py, gates.py,
// lstm.py, rnn.py and noise.py are the same in readable form, and tests hold the two equal. Every loop is
// over the columns of one sequence, so that the compiler turns it into vector instructions (`EACH`
// promises that no turn depends on another) and what is between two loops stays in the nearest cache.
//
// Real holds charges, and Row the DAC codes on the rows, as the products need them: float is exact to
// 2^24, double to 2^53. Where the CPU has tiles (Intel AMX), `multiply` does the product in
// integers: v * g+ and -v * g-, bytes. Int holds what comes of charges. golden/fast.py chooses types
// that no value leaves.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif
#if defined(__AMX_INT8__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define TILES
#endif

#define EACH _Pragma("GCC ivdep") for

// Field for field golden/native.py's Layer; all are 8 bytes wide. Strides are in elements; one of 0
// means that the next takes the place of the last.
struct Layer {
    int64_t batch, steps, inputs, gates, units, entries;  // entries: of a gate's table
    int64_t rows_step, rows_width, rows_negative;  // to the next step, to the next sequence, to -v
    int64_t charge_step, charge_width, codes_sequence, codes_step, c_sequence, c_step;
    // Numbers of the description, named as there.
    int64_t adc_shift, adc_low, adc_high, frac, index_low, index_high;
    int64_t gate_bits, state_low, state_high, state_index_shift, state_index_low, state_index_high;
    int64_t hidden_shift, dac_low, dac_high, bipolar, lstm;
    // Noise and errors of the macro.
    int64_t noisy, key_0, key_1, read_noise, adc_noise, error_shift;
    int64_t vectors;     // that have injected noise: the gates' pre-activations alone, or every one
    double power_ratio;  // of that noise: its power over the signal's
    const uint32_t *runs;         // (batch)
    const uint8_t *magnitudes;    // (128)
    const int32_t *offset;        // (gates, units), 64 * offset of the lane
    const int32_t *gain;          // (gates, units)
    const int32_t *bias;          // (gates, units)
    const int32_t *gate_tables;   // (gates, entries)
    const int32_t *tanh_table;    // (2^state_index_bits)
    const float *normal;          // (batch, steps, vectors, units), or null: pre-activations, what
                                  // the tables gave, c, h
    // What a step reads and writes. Trace:
    const int16_t *x;             // (batch, steps, inputs)
    int16_t *codes;               // (batch, steps, gates, units), or one row for all
    int32_t *c;                   // (batch, steps, units), or (batch, units); before injected noise
    int16_t *h;                   // (batch, steps, units)
    uint8_t *inside;              // as codes, or null: whether the ADC did not saturate
    // And, as Real, what products take and give:
    void *rows;                   // (steps + 1, batch, inputs + units) Row: x_t and h_{t-1}
    void *charge;                 // (steps, batch, gates, units); in training read noise comes in
    const uint8_t *cells;         // for `multiply`: (2, columns / 16, rows / 64, 16, 16, 4), g+ and g-
    // Gradients, for `step_back`; charge becomes its own gradient.
    const void *slopes;           // (gates, entries) Real: of gate_tables
    const void *tanh_slopes;      // Real: of tanh_table
    const void *grad_h;           // (batch, steps, units) Real: from outside
    const void *grad_recurrent;   // (batch, units) Real: from the step after
    void *grad_c;                 // (batch, units) Real: of c after this step, then before it
    double *grad_gain;            // (gates, units), sums
    double *grad_bias;            // (gates, units), sums
    double *grad_tables;          // (gates, entries), sums
    int32_t *scratch;             // 12 * gates * units
};

namespace {

template <class Int> Int half_up(Int a, int64_t shift) {
    return (a + ((Int(1) << shift) >> 1)) >> shift;
}

template <class Int> Int clamp(Int a, int64_t low, int64_t high) {
    return a < Int(low) ? Int(low) : a > Int(high) ? Int(high) : a;
}

// The draws of one sequence's conversions, columns in order of gates, then units.
void draw(const Layer &p, int64_t step, int64_t n, int32_t *__restrict read, int32_t *__restrict adc) {
    const uint32_t run = p.runs[n], t = uint32_t(step);
    const uint32_t a = uint32_t(p.key_0) + run * 0x9E3779B1u + t * 0x85EBCA77u;
    const uint32_t b = uint32_t(p.key_1) + run * 0x27D4EB2Fu + t * 0x165667B1u;
    uint32_t *__restrict words = reinterpret_cast<uint32_t *>(read);
    for (int64_t gate = 0; gate < p.gates; gate++) {
        uint32_t *__restrict own = words + gate * p.units;
        for (int64_t unit = 0; unit < p.units; unit++) {
            uint32_t w = a + uint32_t(unit * p.gates + gate) * 0xC2B2AE3Du;
            w = (w ^ (w >> 16)) * 0x7FEB352Du + b;
            w = (w ^ (w >> 15)) * 0x846CA68Bu;
            own[unit] = w ^ (w >> 16);
        }
    }
    const int64_t columns = p.gates * p.units;
    int64_t column = 0;
#ifdef __AVX512VBMI__
    // Sixteen words at once: 64 bytes select magnitudes, their top bits are signs, and neighbours are
    // added in pairs.
    const __m512i lower = _mm512_loadu_si512(p.magnitudes), upper = _mm512_loadu_si512(p.magnitudes + 64);
    const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
    for (; column + 16 <= columns; column += 16) {
        const __m512i w = _mm512_loadu_si512(words + column);
        const __m512i size = _mm512_permutex2var_epi8(lower, w, upper);
        const __m512i sign = _mm512_mask_blend_epi8(_mm512_movepi8_mask(w), plus, minus);
        const __m512i pairs = _mm512_maddubs_epi16(size, sign);
        _mm512_storeu_si512(adc + column, _mm512_srai_epi32(pairs, 16));
        _mm512_storeu_si512(read + column, _mm512_srai_epi32(_mm512_slli_epi32(pairs, 16), 16));
    }
#endif
    for (; column < columns; column++) {
        const uint32_t w = words[column];
        int32_t z[4];
        for (int k = 0; k < 4; k++) {
            const uint32_t byte = w >> (8 * k) & 255;
            const int32_t size = p.magnitudes[byte & 127];
            z[k] = byte < 128 ? size : -size;
        }
        read[column] = z[0] + z[1];
        adc[column] = z[2] + z[3];
    }
}

// The injected noise of one sequence and step: vectors of `units` numbers are disturbed in proportion to
// their own root mean square, and rounded.
struct Noise {
    const Layer &p;
    const float *normal;
    bool every;  // not the pre-activations alone

    Noise(const Layer &p, int64_t t, int64_t n)
        : p(p), normal(p.normal ? p.normal + (n * p.steps + t) * p.vectors * p.units : nullptr),
          every(normal && p.vectors > p.gates) {}

    template <class Int> double rms(const Int *__restrict v) const {
        double power = 0;  // exact: golden/fast.py sees to it that it stays below 2^53
#pragma omp simd reduction(+ : power)
        for (int64_t unit = 0; unit < p.units; unit++) power += double(v[unit]) * double(v[unit]);
        return std::sqrt(power / double(p.units) * p.power_ratio + 1e-6);
    }

    // `count` vectors, the first of which has the number `vector`; noisy may be v.
    template <class Int> void add(int64_t vector, int64_t count, const Int *v, Int *noisy) const {
        for (int64_t k = 0; k < count; k++, v += p.units, noisy += p.units) {
            const float *__restrict z = normal + (vector + k) * p.units;
            const double scale = rms(v);
            EACH (int64_t unit = 0; unit < p.units; unit++)
                noisy[unit] = Int(std::floor(double(v[unit]) + double(z[unit]) * scale + 0.5));
        }
    }

    // Gradients of noisy vectors become those of v: through the noise's amplitude too.
    template <class Int, class Real>
    void back(int64_t vector, int64_t count, const Int *__restrict v, Real *__restrict grad) const {
        for (int64_t k = 0; k < count; k++, v += p.units, grad += p.units) {
            const float *__restrict z = normal + (vector + k) * p.units;
            double along = 0;
#pragma omp simd reduction(+ : along)
            for (int64_t unit = 0; unit < p.units; unit++) along += double(grad[unit]) * double(z[unit]);
            const Real each = Real(along * p.power_ratio / (double(p.units) * rms(v)));
            EACH (int64_t unit = 0; unit < p.units; unit++) grad[unit] += each * Real(v[unit]);
        }
    }
};

template <class Int> Int feed_back(const Layer &p, Int product) {
    if (p.bipolar) return product >= 0 ? 1 : -1;
    return clamp(half_up(product, p.hidden_shift), p.dac_low, p.dac_high);
}

// Pre-activations of one sequence from its ADC codes; not saturated yet.
void pre_activations(const Layer &p, const int16_t *__restrict codes, int32_t *__restrict a) {
    const int64_t columns = p.gates * p.units;
    const int32_t one = 1 << p.frac;
    EACH (int64_t column = 0; column < columns; column++)
        a[column] = int32_t(codes[column]) * one + p.bias[column];
}

// c with its noise, saturated; zeros before the first step (t < 0).
void noisy_state(const Layer &p, int64_t t, int64_t n, const int32_t *c, int32_t *noisy) {
    if (t < 0) {
        std::memset(noisy, 0, sizeof(int32_t) * p.units);
        return;
    }
    Noise(p, t, n).add(2 * p.gates, 1, c, noisy);
    EACH (int64_t unit = 0; unit < p.units; unit++) noisy[unit] = clamp(noisy[unit], p.state_low, p.state_high);
}

// Codes onto the rows of step t, from row `first` on.
template <class Row>
void drive(const Layer &p, int64_t t, int64_t n, int64_t first, const int16_t *__restrict codes, int64_t count) {
    Row *__restrict rows = static_cast<Row *>(p.rows) + t * p.rows_step + n * p.rows_width + first;
    EACH (int64_t k = 0; k < count; k++) rows[k] = Row(codes[k]);
    if (p.rows_negative) {
        rows += p.rows_negative;
        EACH (int64_t k = 0; k < count; k++) rows[k] = Row(-codes[k]);
    }
}

template <class Row> void drive_inputs(const Layer &p, int64_t t, int64_t n) {
    drive<Row>(p, t, n, 0, p.x + (n * p.steps + t) * p.inputs, p.inputs);
}

// The rows of step 0; h is there already.
template <class Row> void begin(const Layer &p) {
    for (int64_t n = 0; n < p.batch; n++) drive_inputs<Row>(p, 0, n);
}

// From the charge of step t to the rows of the step after.
template <class Real, class Int, class Row> void step(const Layer &p, int64_t t) {
    const int64_t units = p.units, columns = p.gates * units, entries = p.entries;
    int32_t *__restrict read = p.scratch, *__restrict adc = read + columns, *__restrict a = adc + columns;
    const int32_t *__restrict gain = p.gain, *__restrict offset = p.offset;
    const int32_t least = int32_t(p.adc_low), most = int32_t(p.adc_high);
    const Int low = least, high = most, shift = Int(p.adc_shift), half = Int(1) << (shift - 1);
    const Int right = Int(p.error_shift > 0 ? p.error_shift : 0);
    const Int left = Int(1) << (p.error_shift < 0 ? -p.error_shift : 0);
    const Int error_half = (Int(1) << right) >> 1;
    for (int64_t n = 0; n < p.batch; n++) {
        const int64_t at = n * p.steps + t;
        Real *__restrict charge = static_cast<Real *>(p.charge) + t * p.charge_step + n * p.charge_width;

        // The ADC; one beyond its range says that it saturates.
        if (p.noisy) {
            draw(p, t, n, read, adc);
            const Int read_noise = Int(p.read_noise), adc_noise = Int(p.adc_noise);
            EACH (int64_t k = 0; k < columns; k++) {
                const Int q = Int(charge[k]) + ((Int(read[k]) * read_noise + 512) >> 10);
                const Int e = ((Int(adc[k]) * adc_noise + Int(offset[k]) + error_half) >> right) * left;
                const Int code = (q * Int(gain[k]) + e + half) >> shift;
                read[k] = int32_t(code < low ? low - 1 : code > high ? high + 1 : code);
                charge[k] = Real(q);
            }
        } else {
            EACH (int64_t k = 0; k < columns; k++) {
                const Int e = ((Int(offset[k]) + error_half) >> right) * left;
                const Int code = (Int(charge[k]) * Int(gain[k]) + e + half) >> shift;
                read[k] = int32_t(code < low ? low - 1 : code > high ? high + 1 : code);
            }
        }
        int16_t *__restrict codes = p.codes + n * p.codes_sequence + t * p.codes_step;
        EACH (int64_t k = 0; k < columns; k++)
            codes[k] = int16_t(read[k] < least ? least : read[k] > most ? most : read[k]);
        if (p.inside) {
            uint8_t *__restrict inside = p.inside + at * columns;
            EACH (int64_t k = 0; k < columns; k++) inside[k] = (read[k] >= least) & (read[k] <= most);
        }

        // The gates' tables.
        const Noise noise(p, t, n);
        pre_activations(p, codes, a);
        if (noise.normal) noise.add(0, p.gates, a, a);
        const int32_t first = int32_t(p.index_low), last = int32_t(p.index_high);
        for (int64_t gate = 0; gate < p.gates; gate++) {
            const int32_t *__restrict table = p.gate_tables + gate * entries - first;
            int32_t *__restrict own = a + gate * units;
            EACH (int64_t unit = 0; unit < units; unit++) {
                const int32_t index = own[unit];
                own[unit] = table[index < first ? first : index > last ? last : index];
            }
        }

        // The cell.
        int16_t *__restrict h = p.h + at * units;
        if (noise.every) noise.add(p.gates, p.gates, a, a);
        if (p.lstm) {
            int32_t *c = p.c + n * p.c_sequence + t * p.c_step;
            const int32_t *before = t ? c - p.c_step : read, *after = c;
            if (noise.every) {
                noisy_state(p, t - 1, n, before, read);
                before = read;
                after = read + units;
            } else if (t == 0) {
                std::memset(read, 0, sizeof(int32_t) * units);
            }
            const int32_t *__restrict tanh = p.tanh_table - p.state_index_low;
            EACH (int64_t unit = 0; unit < units; unit++) {
                const Int i = a[unit], f = a[units + unit], g = a[2 * units + unit];
                const Int next = half_up(f * Int(before[unit]) + i * g, p.gate_bits);
                c[unit] = int32_t(clamp(next, p.state_low, p.state_high));
            }
            if (noise.every) noisy_state(p, t, n, c, read + units);
            Int *__restrict products = reinterpret_cast<Int *>(read + 2 * units);
            EACH (int64_t unit = 0; unit < units; unit++) {
                const int32_t upper = half_up(after[unit], p.state_index_shift);
                products[unit] = Int(a[3 * units + unit])
                    * Int(tanh[clamp(upper, p.state_index_low, p.state_index_high)]);
            }
            if (noise.every) noise.add(2 * p.gates + 1, 1, products, products);
            EACH (int64_t unit = 0; unit < units; unit++) h[unit] = int16_t(feed_back(p, products[unit]));
        } else {
            EACH (int64_t unit = 0; unit < units; unit++) h[unit] = int16_t(feed_back(p, Int(a[unit])));
        }
        drive<Row>(p, t + 1, n, p.inputs, h, units);
        if (t + 1 < p.steps) drive_inputs<Row>(p, t + 1, n);
    }
}

// What a narrowing by a shift lets through: values in low..high, with the gradient `slope`.
template <class Real, class Int> struct Through {
    Int low, high;
    Real slope;

    Through(int64_t shift, int64_t least, int64_t most) {
        const Int half = (Int(1) << shift) >> 1;
        low = Int(least) * (Int(1) << shift) - half;
        high = (Int(most) + 1) * (Int(1) << shift) - half - 1;
        slope = Real(1) / Real(Int(1) << shift);
    }
    Real operator()(Int a) const { return ((a >= low) & (a <= high)) ? slope : Real(0); }
};

template <class Real, class Int> void step_back(const Layer &p, int64_t t) {
    const int64_t units = p.units, columns = p.gates * units, entries = p.entries;
    int32_t *__restrict a = p.scratch, *__restrict index = a + columns;
    int32_t *values = index + columns, *noisy_values = values + columns;
    int32_t *states = noisy_values + columns;  // c before and after this step, with noise
    Int *product = reinterpret_cast<Int *>(states + 2 * columns), *noisy_product = product + units;
    Real *__restrict grad = reinterpret_cast<Real *>(noisy_product + units);
    Real *__restrict grad_product = grad + columns;
    const Through<Real, Int> state(p.gate_bits, p.state_low, p.state_high);
    const Through<Real, Int> upper(p.state_index_shift, p.state_index_low, p.state_index_high);
    Through<Real, Int> hidden(p.hidden_shift, p.dac_low, p.dac_high);
    if (p.bipolar) hidden.low = -(hidden.high = Int(1) << p.hidden_shift);
    const Real *__restrict slopes = static_cast<const Real *>(p.slopes);
    const Real *__restrict tanh_slopes = static_cast<const Real *>(p.tanh_slopes) - p.state_index_low;
    const int32_t first = int32_t(p.index_low), last = int32_t(p.index_high);
    for (int64_t n = 0; n < p.batch; n++) {
        const int64_t at = n * p.steps + t;
        const int16_t *__restrict codes = p.codes + n * p.codes_sequence + t * p.codes_step;
        const Noise noise(p, t, n);

        // What the forward pass had, once more.
        pre_activations(p, codes, a);
        if (noise.normal) noise.add(0, p.gates, a, a);
        for (int64_t gate = 0; gate < p.gates; gate++) {
            const int32_t *__restrict table = p.gate_tables + gate * entries;
            EACH (int64_t k = gate * units; k < (gate + 1) * units; k++) {
                index[k] = clamp(a[k], first, last) - first;
                values[k] = table[index[k]];
            }
        }
        const int32_t *__restrict v = values;
        if (noise.every) {
            noise.add(p.gates, p.gates, values, noisy_values);
            v = noisy_values;
        }

        // The cell: `grad` becomes that of the tables' entries.
        const Real *__restrict outside = static_cast<const Real *>(p.grad_h) + at * units;
        const Real *__restrict after = static_cast<const Real *>(p.grad_recurrent) + n * units;
        if (p.lstm) {
            const int32_t *clean = p.c + n * p.c_sequence + t * p.c_step;
            const int32_t *c = clean, *before = t ? clean - p.c_step : states;
            if (noise.every) {
                noisy_state(p, t - 1, n, before, states);
                noisy_state(p, t, n, clean, states + units);
                before = states;
                c = states + units;
            } else if (t == 0) {
                std::memset(states, 0, sizeof(int32_t) * units);
            }
            const int32_t *__restrict tanh = p.tanh_table - p.state_index_low;
            Real *__restrict grad_c = static_cast<Real *>(p.grad_c) + n * units;
            EACH (int64_t unit = 0; unit < units; unit++) {
                const int64_t at_upper = clamp(half_up(c[unit], p.state_index_shift),
                                               p.state_index_low, p.state_index_high);
                product[unit] = Int(v[3 * units + unit]) * Int(tanh[at_upper]);
            }
            const Int *noisy = product;
            if (noise.every) {
                noise.add(2 * p.gates + 1, 1, product, noisy_product);
                noisy = noisy_product;
            }
            EACH (int64_t unit = 0; unit < units; unit++)
                grad_product[unit] = (outside[unit] + after[unit]) * hidden(noisy[unit]);
            if (noise.every) noise.back(2 * p.gates + 1, 1, product, grad_product);
            EACH (int64_t unit = 0; unit < units; unit++) {
                const int64_t at_upper = clamp(half_up(c[unit], p.state_index_shift),
                                               p.state_index_low, p.state_index_high);
                const Real dh = grad_product[unit];
                grad[3 * units + unit] = dh * Real(tanh[at_upper]);
                grad_c[unit] += dh * Real(v[3 * units + unit]) * tanh_slopes[at_upper] * upper(c[unit]);
            }
            if (noise.every) {
                // Where noise drove c beyond its range, it saturated.
                int32_t *__restrict unbound = states + 2 * units;
                noise.add(2 * p.gates, 1, clean, unbound);
                EACH (int64_t unit = 0; unit < units; unit++)
                    grad_c[unit] = unbound[unit] == c[unit] ? grad_c[unit] : Real(0);
                noise.back(2 * p.gates, 1, clean, grad_c);
            }
            EACH (int64_t unit = 0; unit < units; unit++) {
                const Int i = v[unit], f = v[units + unit], g = v[2 * units + unit];
                const Real dc = grad_c[unit] * state(f * Int(before[unit]) + i * g);
                grad[unit] = dc * Real(g);
                grad[units + unit] = dc * Real(before[unit]);
                grad[2 * units + unit] = dc * Real(i);
                grad_c[unit] = dc * Real(f);
            }
        } else {
            EACH (int64_t unit = 0; unit < units; unit++)
                grad[unit] = (outside[unit] + after[unit]) * hidden(Int(v[unit]));
        }
        if (noise.every) noise.back(p.gates, p.gates, values, grad);

        // The tables, the bias.
        for (int64_t gate = 0; gate < p.gates; gate++) {
            double *__restrict sums = p.grad_tables + gate * entries;
            const Real *__restrict slope = slopes + gate * entries;
            for (int64_t k = gate * units; k < (gate + 1) * units; k++) sums[index[k]] += double(grad[k]);
            EACH (int64_t k = gate * units; k < (gate + 1) * units; k++)
                grad[k] = a[k] >= first && a[k] <= last ? grad[k] * slope[index[k]] : Real(0);
        }
        if (noise.normal) {
            pre_activations(p, codes, a);  // before the noise
            noise.back(0, p.gates, a, grad);
        }
        EACH (int64_t k = 0; k < columns; k++) p.grad_bias[k] += double(grad[k]);

        // The ADC: the charge becomes its gradient.
        Real *__restrict charge = static_cast<Real *>(p.charge) + t * p.charge_step + n * p.charge_width;
        const uint8_t *__restrict inside = p.inside + at * columns;
        const Real scale = std::ldexp(Real(1), int(p.frac - p.adc_shift));
        EACH (int64_t k = 0; k < columns; k++) {
            const Real converted = inside[k] ? grad[k] * scale : Real(0);
            p.grad_gain[k] += double(converted) * double(charge[k]);
            charge[k] = converted * Real(p.gain[k]);
        }
    }
}

#ifdef TILES
// Charge of all columns: blocks of 32 sequences and 32 columns, whose cells stay in the nearest cache.
// All buffers are padded to whole blocks.
void multiply_tiles(const Layer &p) {
    struct alignas(64) Shapes {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shapes);
    const int64_t depth = p.rows_width, width = p.charge_width, part = depth * width;
    const int8_t *codes = static_cast<const int8_t *>(p.rows);
    int32_t *charge = static_cast<int32_t *>(p.charge);
    for (int64_t column = 0; column < width; column += 32) {
        const uint8_t *left = p.cells + column * depth, *right = left + 16 * depth;
        for (int64_t n = 0; n < p.batch; n += 32) {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (int64_t sign = 0; sign < 2; sign++) {
                const int8_t *upper = codes + sign * p.rows_negative + n * depth;
                for (int64_t row = 0; row < depth; row += 64) {
                    _tile_loadd(4, upper + row, depth);
                    _tile_loadd(5, upper + 16 * depth + row, depth);
                    _tile_loadd(6, left + sign * part + row * 16, 64);
                    _tile_loadd(7, right + sign * part + row * 16, 64);
                    _tile_dpbsud(0, 4, 6);
                    _tile_dpbsud(1, 4, 7);
                    _tile_dpbsud(2, 5, 6);
                    _tile_dpbsud(3, 5, 7);
                }
            }
            int32_t *upper = charge + n * width + column, *lower = upper + 16 * width;
            _tile_stored(0, upper, 4 * width);
            _tile_stored(1, upper + 16, 4 * width);
            _tile_stored(2, lower, 4 * width);
            _tile_stored(3, lower + 16, 4 * width);
        }
    }
    _tile_release();
}
#endif

}  // namespace

#define KERNELS(Real, Int, Row, kind)                                                     \
    void begin_##kind(const Layer *p, int64_t) { begin<Row>(*p); }                        \
    void step_##kind(const Layer *p, int64_t t) { step<Real, Int, Row>(*p, t); }

#define KERNELS_BACK(Real, Int, kind) \
    void step_back_##kind(const Layer *p, int64_t t) { step_back<Real, Int>(*p, t); }

extern "C" {
KERNELS(float, int32_t, float, f32_i32)
KERNELS(float, int64_t, float, f32_i64)
KERNELS(double, int64_t, double, f64_i64)
KERNELS(int32_t, int32_t, int8_t, i32_i32)
KERNELS(int32_t, int64_t, int8_t, i32_i64)
KERNELS_BACK(float, int32_t, f32_i32)
KERNELS_BACK(float, int64_t, f32_i64)
KERNELS_BACK(double, int64_t, f64_i64)

// Whether `multiply` works here: the CPU has tiles, and the system lets this process use them.
int64_t tiles() {
#ifdef TILES
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
#else
    return 0;
#endif
}

void multiply(const Layer *p, int64_t) {
#ifdef TILES
    multiply_tiles(*p);
#endif
}
}
