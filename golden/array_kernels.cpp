// Cells of an array: codes of real weights, and the order in which `run_lanes` takes them.
//
// golden/training/cells.py and golden/kernel_inputs.py call these. golden/training/quantised.py has the codes of
// weights in readable form; tests compare both.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

// golden/native.py reads this declaration; each field is 8 bytes wide.
struct Cells {
    int64_t gates, units, rows, tiles;
    int64_t boundaries;          // between levels: one less than levels
    int64_t each;                // rows of a part of `packed`: 2 (int16) or 4 (int8)
    int64_t cell_unit;           // what all g+ - g- are multiples of, with parts of 4
    const int64_t *tile_rows;    // (tiles + 1): first row of each row tile
    const double *weight;        // (gates, units, rows)
    const double *row_step;      // (rows)
    const double *unit;          // (tiles, gates): weight times row_step of one conductance code
    const double *between;       // (boundaries): a number below the n-th gets level n at most
    const double *levels;        // (boundaries + 1)
    double *positive, *negative; // (gates, units, rows)
    // Gradients.
    const double *grad_positive, *grad_negative;
    double *grad_weight;         // (gates, units, rows)
    double *grad_unit;           // (tiles, gates)
    // For `run_lanes`.
    const float *differential;   // (gates, units, rows): g+ - g-
    void *packed;                // (groups of 4 columns, parts of rows, 4, each)
    int32_t *sums;               // (groups, tiles, 4): sums of the cells in `packed`
    int64_t *found;              // (2): greatest common divisor and largest size of g+ - g-
};

namespace {

constexpr int64_t SLOTS = 4;   // columns of a group
constexpr int64_t SOME = 256;  // rows at once

// Levels of `count` rows of real codes x: those of the greatest boundary that is not above.
void nearest(const Cells &p, const double *__restrict x, int64_t count, double *__restrict level) {
    int64_t index[SOME] = {};
    for (int64_t k = 0; k < p.boundaries; k++) {
        const double boundary = p.between[k];
        for (int64_t row = 0; row < count; row++) index[row] += !(x[row] < boundary);
    }
    for (int64_t row = 0; row < count; row++) level[row] = p.levels[index[row]];
}

// Let `each(gate, unit, tile, from, count)` see all cells, a part of a row tile at a time.
template <class Each> void for_parts(const Cells &p, Each each) {
    for (int64_t gate = 0; gate < p.gates; gate++)
        for (int64_t unit = 0; unit < p.units; unit++)
            for (int64_t tile = 0; tile < p.tiles; tile++)
                for (int64_t row = p.tile_rows[tile]; row < p.tile_rows[tile + 1]; row += SOME) {
                    const int64_t left = p.tile_rows[tile + 1] - row;
                    each(gate, tile, (gate * p.units + unit) * p.rows, row, left < SOME ? left : SOME);
                }
}

// Real codes of a part of a row tile: weight times row_step, over the unit.
inline void real_codes(const Cells &p, double unit, int64_t column, int64_t row, int64_t count, double *__restrict x) {
    const double *__restrict weight = p.weight + column + row, *__restrict step = p.row_step + row;
    for (int64_t k = 0; k < count; k++) x[k] = weight[k] * step[k] / unit;
}

template <class To> void pack(const Cells &p) {
    const int64_t groups = p.gates == SLOTS ? p.units : (p.gates * p.units + SLOTS - 1) / SLOTS;
    const float inverse = 1.0f / float(p.cell_unit);
    To *to = static_cast<To *>(p.packed);
    for (int64_t group = 0; group < groups; group++) {
        for (int64_t tile = 0; tile < p.tiles; tile++) {
            const int64_t first = p.tile_rows[tile], count = p.tile_rows[tile + 1] - first;
            const int64_t parts = (count + p.each - 1) / p.each;
            for (int64_t slot = 0; slot < SLOTS; slot++) {
                const int64_t column = p.gates == SLOTS ? slot * p.units + group : group * SLOTS + slot;
                const float *from = p.differential + column * p.rows + first;
                int32_t sum = 0;
                for (int64_t k = 0; k < parts * p.each; k++) {
                    const bool there = column < p.gates * p.units && k < count;
                    // Exact: a quotient is an integer up to 127, or the unit is 1.
                    const int32_t cell = there ? int32_t(std::lrint(from[k] * inverse)) : 0;
                    to[(k / p.each * SLOTS + slot) * p.each + k % p.each] = To(cell);
                    sum += cell;
                }
                p.sums[(group * p.tiles + tile) * SLOTS + slot] = sum;
            }
            to += parts * SLOTS * p.each;
        }
    }
}

}  // namespace

namespace {

// Words n, n + 64, n + 128, ... are summed with powers of FACTOR. FACTOR is odd, so a change of a single word
// always changes its sum.
constexpr int64_t SUMS = 64;
constexpr uint64_t FACTOR = 0x9e3779b97f4a7c15;

void digest_into(uint64_t (&sums)[SUMS], const char *bytes, int64_t count) {
    const int64_t block = SUMS * int64_t(sizeof(uint64_t));
    for (; count >= block; bytes += block, count -= block) {
        uint64_t words[SUMS];
        std::memcpy(words, bytes, block);
        for (int64_t k = 0; k < SUMS; k++) sums[k] = sums[k] * FACTOR + words[k];
    }
    uint64_t rest[SUMS] = {};
    std::memcpy(rest, bytes, count);
    for (int64_t k = 0; k < SUMS; k++) sums[k] = sums[k] * FACTOR + rest[k];
}

}  // namespace

extern "C" {

int64_t cells_size() { return sizeof(Cells); }

// Codes g+ and g- of weights: the nearest level, half-way values up; one device of a pair holds it.
void program_cells(const Cells *p) {
    for_parts(*p, [p](int64_t gate, int64_t tile, int64_t column, int64_t row, int64_t count) {
        double x[SOME], level[SOME];
        real_codes(*p, p->unit[tile * p->gates + gate], column, row, count, x);
        nearest(*p, x, count, level);
        double *__restrict positive = p->positive + column + row, *__restrict negative = p->negative + column + row;
        for (int64_t k = 0; k < count; k++) {
            positive[k] = level[k] > 0 ? level[k] : 0;
            negative[k] = level[k] < 0 ? -level[k] : 0;
        }
    });
}

// Gradients of weights and units. That of a real code is the level's, between the lowest and the highest one.
void program_cells_back(const Cells *p) {
    const double least = p->levels[0], most = p->levels[p->boundaries];
    for_parts(*p, [&](int64_t gate, int64_t tile, int64_t column, int64_t row, int64_t count) {
        double x[SOME];
        const int64_t of_unit = tile * p->gates + gate, at = column + row;
        const double unit = p->unit[of_unit];
        real_codes(*p, unit, column, row, count, x);
        const double *__restrict up = p->grad_positive + at, *__restrict down = p->grad_negative + at;
        const double *__restrict step = p->row_step + row, *__restrict negative = p->negative + at;
        double *__restrict grad = p->grad_weight + at, along = 0;
#pragma omp simd reduction(+ : along)
        for (int64_t k = 0; k < count; k++) {
            const double of_level = negative[k] > 0 ? -down[k] : up[k];
            const double of_code = x[k] >= least && x[k] <= most ? of_level / unit : 0;
            along += of_code * x[k];
            grad[k] = of_code * step[k];
        }
        p->grad_unit[of_unit] -= along;
    });
}

// What all g+ - g- are multiples of, and the largest; sizes must be below 2^15.
void measure_cells(const Cells *p) {
    std::vector<uint8_t> seen(1 << 15, 0);
    const int64_t count = p->gates * p->units * p->rows;
    for (int64_t k = 0; k < count; k++) seen[size_t(std::fabs(p->differential[k]))] = 1;
    p->found[0] = p->found[1] = 0;
    for (int64_t size = 0; size < 1 << 15; size++) {
        if (!seen[size_t(size)]) continue;
        p->found[0] = std::gcd(p->found[0], size);
        p->found[1] = size;
    }
}

void pack_cells(const Cells *p) {
    if (p->each == 4)
        pack<int8_t>(*p);
    else
        pack<int16_t>(*p);
}

// A number that stands for the bytes of some tensors: `count` addresses, and as many sizes.
uint64_t digest(const int64_t *given, int64_t count) {
    uint64_t sums[SUMS] = {};
    for (int64_t n = 0; n < count; n++) digest_into(sums, reinterpret_cast<const char *>(given[n]), given[count + n]);
    uint64_t found = 0;
    for (uint64_t sum : sums) found = (found ^ sum ^ sum >> 32) * FACTOR;
    return found;
}

}
