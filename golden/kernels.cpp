// One step of a recurrent layer in integers (docs/contract.md, 4 to 7 and 10).
//
// golden/fast.py computes the products and calls `step` between them; gradients.cpp has the way back.
// golden/layer.py, adc.py, gates.py, draws.py and cells/ compute the same in readable form; tests compare
// both. Every loop runs over the columns of one sequence. So the compiler can vectorise it (`EACH` promises
// that iterations are independent), and intermediate values stay in the L1 cache.
//
// Real is the type of charges, and Row that of the DAC codes on the rows, as the products need them: float
// is exact up to 2^24, double up to 2^53. On a CPU with tiles (Intel AMX), `multiply` computes the products
// in integers, v * g+ and -v * g-, from bytes. Int is the type of values computed from charges.
// golden/products.py chooses types without overflow.
//
// A column is converted once per row tile and, for a bit-serial DAC, per bit plane, highest plane first. Its
// code is the sum of these conversions; each plane weighs twice the next one.

#include "layer_parts.h"

#include <cstddef>

#ifdef __x86_64__
#include <immintrin.h>
#endif
#if defined(__AMX_INT8__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define TILES
#endif

namespace {

// Draws for the conversions of one sequence in a row tile, ordered by gate, then unit. step: number of the
// step times planes, plus the plane.
void draw(const Layer &p, int64_t step, int64_t tile, int64_t n, int32_t *__restrict read,
          int32_t *__restrict adc) {
    const int64_t columns = p.gates * p.units;
    const uint32_t run = p.runs[n], t = uint32_t(step);
    const uint32_t a = run * 0x9E3779B1u + t * 0x85EBCA77u, b = run * 0x27D4EB2Fu + t * 0x165667B1u;
    const uint32_t *__restrict first = p.keys + 2 * tile * columns, *__restrict second = first + columns;
    uint32_t *__restrict words = reinterpret_cast<uint32_t *>(read);
    EACH (int64_t k = 0; k < columns; k++) {
        uint32_t w = a + first[k];
        w = (w ^ (w >> 16)) * 0x7FEB352Du + (b + second[k]);
        w = (w ^ (w >> 15)) * 0x846CA68Bu;
        words[k] = w ^ (w >> 16);
    }
    int64_t column = 0;
#ifdef __AVX512VBMI__
    // Sixteen words at once: each of 64 bytes selects a magnitude, its top bit is the sign, and adjacent
    // bytes are added in pairs.
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

template <class Int> Int feed_back(const Layer &p, Int product) {
    if (p.bipolar) return product >= 0 ? 1 : -1;
    return clamp(half_up(product, p.hidden_shift), p.dac_low, p.dac_high);
}

// Write values to the rows, and their negatives if `multiply` needs them.
template <class Row> void put(const Layer &p, Row *__restrict rows, const int32_t *__restrict v, int64_t count) {
    EACH (int64_t k = 0; k < count; k++) rows[k] = Row(v[k]);
    if (p.rows_negative) {
        rows += p.rows_negative;
        EACH (int64_t k = 0; k < count; k++) rows[k] = Row(-v[k]);
    }
}

// Write codes to the rows of step t, starting at row `first`: the codes, or their planes.
template <class Row>
void drive(const Layer &p, int64_t t, int64_t n, int64_t first, const int16_t *__restrict codes, int64_t count) {
    Row *rows = static_cast<Row *>(p.rows) + t * p.rows_step + n * p.rows_width;
    int32_t v[64];
    while (count > 0) {
        // At most up to the end of the row tile, and the size of v.
        int64_t tile = p.tiles - 1;
        while (first < p.tile_rows[tile]) tile--;
        int64_t some = p.tile_rows[tile + 1] - first;
        some = some < count ? some : count;
        some = some < 64 ? some : 64;
        Row *here = rows + p.tile_places[tile] + first - p.tile_rows[tile];
        if (p.planes == 1) {
            EACH (int64_t k = 0; k < some; k++) v[k] = codes[k];
            put(p, here, v, some);
        } else {
            for (int64_t plane = 0; plane < p.planes; plane++) {
                const int bit = int(p.planes - 1 - plane);
                EACH (int64_t k = 0; k < some; k++) {
                    const int32_t size = (codes[k] < 0 ? -codes[k] : codes[k]) >> bit & 1;
                    v[k] = codes[k] < 0 ? -size : size;
                }
                put(p, here + plane * p.rows_plane, v, some);
            }
        }
        first += some;
        codes += some;
        count -= some;
    }
}

template <class Row> void drive_inputs(const Layer &p, int64_t t, int64_t n) {
    drive<Row>(p, t, n, 0, p.x + (n * p.steps + t) * p.inputs, p.inputs);
}

// Write the rows of step 0: x, and the code of 0 for h (+1 for a 1-bit DAC), in every plane.
template <class Row> void begin(const Layer &p) {
    const int16_t zero = p.bipolar ? 1 : 0;
    for (int64_t n = 0; n < p.batch; n++) {
        drive_inputs<Row>(p, 0, n);
        for (int64_t unit = 0; unit < p.units; unit++) drive<Row>(p, 0, n, p.inputs + unit, &zero, 1);
    }
}

// From the charge of step t to the rows of step t + 1.
template <class Real, class Int, class Row> void step(const Layer &p, int64_t t) {
    const int64_t units = p.units, columns = p.gates * units, entries = p.entries;
    int32_t *__restrict read = p.scratch, *__restrict adc = read + columns, *__restrict a = adc + columns;
    const int32_t least = int32_t(p.adc_low), most = int32_t(p.adc_high);
    const Int low = least, high = most, shift = Int(p.adc_shift), half = Int(1) << (shift - 1);
    const Int right = Int(p.error_shift > 0 ? p.error_shift : 0);
    const Int left = Int(1) << (p.error_shift < 0 ? -p.error_shift : 0);
    const Int error_half = (Int(1) << right) >> 1;
    for (int64_t n = 0; n < p.batch; n++) {
        const int64_t at = n * p.steps + t;
        Real *charges = static_cast<Real *>(p.charge) + t * p.charge_step + n * p.charge_width;

        // ADC. A code one beyond the range marks a conversion that saturates.
        int32_t *__restrict codes = p.codes + n * p.codes_sequence + t * p.codes_step;
        std::memset(codes, 0, sizeof(int32_t) * columns);
        for (int64_t plane = 0; plane < p.planes; plane++) {
            EACH (int64_t k = 0; k < columns; k++) codes[k] *= 2;
            for (int64_t tile = 0; tile < p.tiles; tile++) {
                Real *__restrict charge = charges + tile * p.charge_tile + plane * p.charge_plane;
                const int32_t *__restrict gain = p.gain + tile * columns;
                const int32_t *__restrict offset = p.offset + tile * columns;
                if (p.noisy) {
                    draw(p, t * p.planes + plane, tile, n, read, adc);
                    const Int read_noise = Int(p.read_noise[tile]), adc_noise = Int(p.adc_noise);
                    EACH (int64_t k = 0; k < columns; k++) {
                        const Int q = Int(charge[k]) + ((Int(read[k]) * read_noise + 512) >> 10);
                        const Int e =
                            ((Int(adc[k]) * adc_noise + Int(offset[k]) + error_half) >> right) * left;
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
                EACH (int64_t k = 0; k < columns; k++)
                    codes[k] += read[k] < least ? least : read[k] > most ? most : read[k];
                if (p.inside) {
                    uint8_t *__restrict inside = p.inside + (((t * p.batch + n) * p.planes + plane) * p.tiles + tile) * columns;
                    EACH (int64_t k = 0; k < columns; k++) inside[k] = (read[k] >= least) & (read[k] <= most);
                }
            }
        }

        // Gate tables.
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

        // Cell.
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
        const int16_t *fed = h;
        if (noise.feeds) {
            double *__restrict noisy = reinterpret_cast<double *>(read + 2 * units);
            int16_t *codes_of_h = reinterpret_cast<int16_t *>(read + 4 * units);
            noisy_h(p, noise, h, read, noisy);
            for (int64_t unit = 0; unit < units; unit++) {
                const int64_t rounded = int64_t(std::floor(noisy[unit] + 0.5));
                codes_of_h[unit] = int16_t(p.bipolar ? (noisy[unit] >= 0 ? 1 : -1)
                                                     : clamp(rounded, p.dac_low, p.dac_high));
            }
            fed = codes_of_h;
        }
        drive<Row>(p, t + 1, n, p.inputs, fed, units);
        if (t + 1 < p.steps) drive_inputs<Row>(p, t + 1, n);
    }
}

#ifdef TILES
// Charge of all columns, in blocks of 32 sequences and 32 columns, whose cells stay in the L1 cache. All
// buffers are padded to whole blocks.
void multiply_tiles(const Layer &p) {
    struct alignas(64) Shapes {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shapes);
    const int64_t width = p.charge_width, wide = p.rows_width;
    for (int64_t part = 0; part < p.tiles * p.planes; part++) {
        const int64_t tile = part / p.planes, plane = part % p.planes;
        const int64_t ends = tile + 1 < p.tiles ? p.tile_places[tile + 1] : wide;
        const int64_t depth = ends - p.tile_places[tile], half = depth * width;
        const int8_t *codes = static_cast<const int8_t *>(p.rows) + plane * p.rows_plane + p.tile_places[tile];
        const uint8_t *cells = p.cells + 2 * p.tile_places[tile] * width;
        int32_t *charge = static_cast<int32_t *>(p.charge) + tile * p.charge_tile + plane * p.charge_plane;
        for (int64_t column = 0; column < width; column += 32) {
            const uint8_t *left = cells + column * depth, *right = left + 16 * depth;
            for (int64_t n = 0; n < p.batch; n += 32) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                for (int64_t sign = 0; sign < 2; sign++) {
                    const int8_t *upper = codes + sign * p.rows_negative + n * wide;
                    for (int64_t row = 0; row < depth; row += 64) {
                        _tile_loadd(4, upper + row, wide);
                        _tile_loadd(5, upper + 16 * wide + row, wide);
                        _tile_loadd(6, left + sign * half + row * 16, 64);
                        _tile_loadd(7, right + sign * half + row * 16, 64);
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
    }
    _tile_release();
}
#endif

}  // namespace

#define KERNELS(Real, Int, Row, kind)                                                     \
    void begin_##kind(const Layer *p, int64_t) { begin<Row>(*p); }                        \
    void step_##kind(const Layer *p, int64_t t) { step<Real, Int, Row>(*p, t); }

extern "C" {

int64_t layer_size() { return sizeof(Layer); }
KERNELS(float, int32_t, float, f32_i32)
KERNELS(float, int64_t, float, f32_i64)
KERNELS(double, int64_t, double, f64_i64)
KERNELS(int32_t, int32_t, int8_t, i32_i32)
KERNELS(int32_t, int64_t, int8_t, i32_i64)

// Whether `multiply` works here: the kernels were compiled for tiles, and the system grants their use.
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
