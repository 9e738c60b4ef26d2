// The backward pass of a recurrent layer in integers (docs/contract.md, 12): from the gradient of h to those of
// charges, gains, biases and gate tables. From those of charges, golden/fast.py computes those of cells and inputs.
//
// A block of sequences goes through all steps, the last one first, so that its numbers stay in the caches. Values
// that the forward pass did not keep are computed again. The gradients of a block are summed apart and added in the
// order of blocks: they do not depend on the number of threads.

#include "gradient_products.h"
#include "layer_parts.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// Sequences of a block: few, so that small batches have blocks for several threads; more if the cells do not fit in
// half of an L2 cache, because each block reads them in each step.
constexpr int64_t FEW = 8, MANY = 32, LARGE = 1 << 20;

// Sums of each entry of a table, in turn, so that no addition waits for the last one; but one of large tables.
constexpr int64_t WAYS = 4, LARGE_TABLE = 4096;

// Gradient of a narrowing by a shift: `slope` for inputs in low..high, which do not saturate, else 0.
template <class Real, class Int> struct Through {
    Int low, high;
    Real slope;

    // bipolar: To a sign, whose gradient is that of a number from -1 to 1.
    Through(int64_t shift, int64_t least, int64_t most, bool bipolar = false) {
        const Int one = Int(1) << shift, half = one >> 1;
        low = bipolar ? -one : Int(least) * one - half;
        high = bipolar ? one : (Int(most) + 1) * one - half - 1;
        slope = Real(1) / Real(one);
    }
    Real operator()(Int a) const { return ((a >= low) & (a <= high)) ? slope : Real(0); }
};

// What all blocks share. Of each row tile with rows of h: its cells, its number, and its first unit.
template <class Real, class Int> struct Shared {
    struct Tile {
        Matrix<Real> cells;
        int64_t number, unit;
    };
    const Layer &p;
    const int64_t block;  // sequences of a block, at most
    const Through<Real, Int> state, upper, hidden;
    std::vector<std::unique_ptr<Tile>> of_h;

    explicit Shared(const Layer &p)
        : p(p), block(p.gates * p.units * p.units * int64_t(sizeof(Real)) > LARGE ? MANY : FEW),
          state(p.gate_bits, p.state_low, p.state_high),
          upper(p.state_index_shift, p.state_index_low, p.state_index_high),
          hidden(p.hidden_shift, p.dac_low, p.dac_high, p.bipolar) {
        const int64_t rows = p.inputs + p.units;
        for (int64_t tile = 0; tile < p.tiles; tile++) {
            const int64_t from = p.tile_rows[tile] < p.inputs ? p.inputs : p.tile_rows[tile];
            const int64_t count = p.tile_rows[tile + 1] - from;
            if (count <= 0) continue;
            const Real *weight = static_cast<const Real *>(p.weight) + from;
            of_h.emplace_back(new Tile{{weight, rows, p.gates * p.units, count}, tile, from - p.inputs});
        }
    }
};

// Gradients of the sequences of a block.
struct Sums {
    const int64_t ways;
    std::vector<double> gain, bias, tables;  // tables: (gates, entries, ways)

    explicit Sums(const Layer &p)
        : ways(p.entries > LARGE_TABLE ? 1 : WAYS), gain(p.tiles * p.gates * p.units), bias(p.gates * p.units),
          tables(p.gates * p.entries * ways) {}

    void clear() {
        for (auto *of : {&gain, &bias, &tables}) std::fill(of->begin(), of->end(), 0.0);
    }

    void add_to(const Layer &p) const {
        for (size_t k = 0; k < gain.size(); k++) p.grad_gain[k] += gain[k];
        for (size_t k = 0; k < bias.size(); k++) p.grad_bias[k] += bias[k];
        for (int64_t k = 0; k < p.gates * p.entries; k++)
            for (int64_t way = 0; way < ways; way++) p.grad_tables[k] += tables[k * ways + way];
    }
};

template <class Real, class Int> class Block {
  public:
    explicit Block(const Shared<Real, Int> &of) : of(of), p(of.p), sums(p) {}

    // All steps of some sequences, as many as a block has at most.
    void run(int64_t from, int64_t size) {
        first = from;
        count = size;
        sums.clear();
        std::memset(grad_recurrent, 0, of.block * units * sizeof(Real));
        std::memset(grad_c, 0, of.block * units * sizeof(Real));
        for (int64_t t = p.steps - 1; t >= 0; t--) {
            std::memset(step_gain, 0, p.tiles * columns * sizeof(Real));
            std::memset(step_bias, 0, columns * sizeof(Real));
            for (int64_t n = 0; n < count; n++) sequence(t, n);
            for (int64_t k = 0; k < p.tiles * columns; k++) sums.gain[k] += double(step_gain[k]);
            for (int64_t k = 0; k < columns; k++) sums.bias[k] += double(step_bias[k]);
            if (t) products(t);
        }
    }

    void add_sums() const { sums.add_to(p); }

  private:
    const Shared<Real, Int> &of;
    const Layer &p;
    const int64_t units = p.units, columns = p.gates * p.units;
    int64_t first = 0, count = 0;
    Sums sums;
    // Of all sequences of a block: gradients of what goes into the next product; of c after a step, which `lstm`
    // replaces by those of c before it; and of charges, summed over planes.
    const Room<Real> grad_recurrent{of.block * units}, grad_c{of.block * units};
    const Room<Real> of_planes{p.planes > 1 ? of.block * columns : 0};
    const Room<Real> step_gain{p.tiles * columns}, step_bias{columns};
    // Of one sequence.
    const Room<int32_t> a{columns}, noisy_a{columns}, index{columns}, values{columns}, noisy_values{columns};
    const Room<int32_t> before{units}, after{units}, unbound{units}, upper_index{units}, clean_h{units};
    const Room<Int> product{units}, noisy_product{units};
    const Room<Real> grad{columns}, grad_product{units}, through{units};
    const Room<double> noisy{units};

    Real *charges(int64_t t, int64_t tile, int64_t plane, int64_t n) const {
        return static_cast<Real *>(p.charge) + t * p.charge_step + tile * p.charge_tile + plane * p.charge_plane
            + n * p.charge_width;
    }

    // From the gradients of charges to that of h of the step before.
    void products(int64_t t) {
        for (const auto &tile : of.of_h) {
            const Real *rows = charges(t, tile->number, 0, first);
            int64_t stride = p.charge_width;
            if (p.planes > 1) {
                for (int64_t n = 0; n < count; n++)
                    for (int64_t plane = 0; plane < p.planes; plane++) {
                        const Real *__restrict from = charges(t, tile->number, plane, first + n);
                        Real *__restrict to = of_planes + n * columns;
                        EACH (int64_t k = 0; k < columns; k++) to[k] = plane ? to[k] + from[k] : from[k];
                    }
                rows = of_planes;
                stride = columns;
            }
            tile->cells.multiply(rows, stride, count, grad_recurrent + tile->unit, units);
        }
    }

    // Gradient of h from that of what went into the next product.
    const Real *through_noise(const Noise &noise, const int16_t *h, const Real *grad_fed) {
        noisy_h(p, noise, h, clean_h, noisy);
        for (int64_t unit = 0; unit < units; unit++) {
            const double rounded = std::floor(noisy[unit] + 0.5);
            const bool inside = p.bipolar ? std::fabs(noisy[unit]) <= 1
                                          : rounded >= p.dac_low && rounded <= p.dac_high;
            through[unit] = inside ? grad_fed[unit] : Real(0);
        }
        noise.back<int32_t, Real>(p.in_cell, 1, clean_h, through);
        return through;
    }

    // Step t of the n-th sequence of the block.
    void sequence(int64_t t, int64_t n) {
        const int64_t at = (first + n) * p.steps + t;
        const Noise noise(p, t, first + n);
        const Real *fed = grad_recurrent + n * units;
        if (noise.feeds) fed = through_noise(noise, p.h + at * units, fed);
        const int32_t *found = activations(noise, p.codes + (first + n) * p.codes_sequence + t * p.codes_step);
        const Real *outside = static_cast<const Real *>(p.grad_h) + at * units;
        if (p.lstm)
            lstm(t, n, noise, found, outside, fed);
        else
            rnn(found, outside, fed);
        if (noise.every) noise.back<int32_t, Real>(p.gates, p.gates, values, grad);
        tables(noise.normal ? noisy_a : a);
        if (noise.normal) noise.back<int32_t, Real>(0, p.gates, a, grad);
        EACH (int64_t k = 0; k < columns; k++) step_bias[k] += grad[k];
        conversions(t, first + n);
    }

    // Activations of the gates, with noise; and `values`, without; `index` of each in its table.
    const int32_t *activations(const Noise &noise, const int32_t *codes) {
        const int32_t low = int32_t(p.index_low), high = int32_t(p.index_high);
        pre_activations(p, codes, a);
        const int32_t *__restrict own = a;
        if (noise.normal) {
            noise.add<int32_t>(0, p.gates, a, noisy_a);
            own = noisy_a;
        }
        int32_t *__restrict at = index, *__restrict to = values;
        for (int64_t gate = 0; gate < p.gates; gate++) {
            const int32_t *__restrict table = p.gate_tables + gate * p.entries;
            EACH (int64_t k = gate * units; k < (gate + 1) * units; k++) {
                at[k] = clamp(own[k], low, high) - low;
                to[k] = table[at[k]];
            }
        }
        if (!noise.every) return values;
        noise.add<int32_t>(p.gates, p.gates, values, noisy_values);
        return noisy_values;
    }

    // Gradients of the activations, from those of h and c.
    void lstm(int64_t t, int64_t n, const Noise &noise, const int32_t *__restrict v, const Real *__restrict outside,
              const Real *__restrict fed) {
        const int32_t *clean = p.c + (first + n) * p.c_sequence + t * p.c_step;
        const int32_t *__restrict c = clean, *__restrict last = t ? clean - p.c_step : before;
        if (noise.every) {
            noisy_state(p, t - 1, first + n, last, before);
            noisy_state(p, t, first + n, clean, after);
            last = before;
            c = after;
        } else if (t == 0) {
            std::memset(before, 0, sizeof(int32_t) * units);
        }
        const int32_t *__restrict tanh = p.tanh_table - p.state_index_low;
        const Real *__restrict slope = static_cast<const Real *>(p.tanh_slopes) - p.state_index_low;
        const int32_t low = int32_t(p.state_index_low), high = int32_t(p.state_index_high);
        int32_t *__restrict at = upper_index;
        Int *__restrict to = product;
        EACH (int64_t unit = 0; unit < units; unit++) {
            at[unit] = clamp(half_up(c[unit], p.state_index_shift), low, high);
            to[unit] = Int(v[3 * units + unit]) * Int(tanh[at[unit]]);
        }
        if (noise.every) noise.add<Int>(2 * p.gates + 1, 1, product, noisy_product);
        const Int *__restrict wide_h = noise.every ? noisy_product : product;  // h before it is narrowed
        const auto upper = of.upper, state = of.state, hidden = of.hidden;
        Real *__restrict dh = grad_product, *__restrict dc = grad_c + n * units, *__restrict dgates = grad;
        EACH (int64_t unit = 0; unit < units; unit++) dh[unit] = (outside[unit] + fed[unit]) * hidden(wide_h[unit]);
        if (noise.every) noise.back<Int, Real>(2 * p.gates + 1, 1, product, dh);
        EACH (int64_t unit = 0; unit < units; unit++) {
            dgates[3 * units + unit] = dh[unit] * Real(tanh[at[unit]]);
            dc[unit] += dh[unit] * Real(v[3 * units + unit]) * slope[at[unit]] * upper(c[unit]);
        }
        if (noise.every) {
            // No gradient where noise made c saturate.
            noise.add<int32_t>(2 * p.gates, 1, clean, unbound);
            const int32_t *__restrict unsaturated = unbound;
            EACH (int64_t unit = 0; unit < units; unit++) dc[unit] = unsaturated[unit] == c[unit] ? dc[unit] : Real(0);
            noise.back(2 * p.gates, 1, clean, dc);
        }
        EACH (int64_t unit = 0; unit < units; unit++) {
            const Int i = v[unit], f = v[units + unit], g = v[2 * units + unit];
            const Real dsum = dc[unit] * state(f * Int(last[unit]) + i * g);
            dgates[unit] = dsum * Real(g);
            dgates[units + unit] = dsum * Real(last[unit]);
            dgates[2 * units + unit] = dsum * Real(i);
            dc[unit] = dsum * Real(f);
        }
    }

    void rnn(const int32_t *__restrict v, const Real *__restrict outside, const Real *__restrict fed) {
        const auto hidden = of.hidden;
        Real *__restrict dgates = grad;
        EACH (int64_t unit = 0; unit < units; unit++)
            dgates[unit] = (outside[unit] + fed[unit]) * hidden(Int(v[unit]));
    }

    // From activations to the sums before the tables, whose entries have gradients too.
    void tables(const int32_t *__restrict sum) {
        const int32_t low = int32_t(p.index_low), high = int32_t(p.index_high);
        const int32_t *__restrict at = index;
        Real *__restrict dgates = grad;
        for (int64_t gate = 0; gate < p.gates; gate++) {
            const int64_t ways = sums.ways, from = gate * units, end = from + units;
            double *__restrict entries = sums.tables.data() + gate * p.entries * ways;
            const Real *__restrict slope = static_cast<const Real *>(p.slopes) + gate * p.entries;
            int64_t k = from;
            if (ways == WAYS)
                for (; k + WAYS <= end; k += WAYS)
#pragma GCC unroll 4
                    for (int64_t way = 0; way < WAYS; way++)
                        entries[at[k + way] * WAYS + way] += double(dgates[k + way]);
            for (; k < end; k++) entries[at[k] * ways] += double(dgates[k]);
            EACH (k = from; k < end; k++) {
                const Real inside = Real((sum[k] >= low) & (sum[k] <= high));
                dgates[k] *= inside * slope[at[k]];
            }
        }
    }

    // The gradient of each conversion replaces its charge.
    void conversions(int64_t t, int64_t n) {
        const Real *__restrict dgates = grad;
        for (int64_t plane = 0; plane < p.planes; plane++) {
            const Real scale = std::ldexp(Real(1), int(p.planes - 1 - plane + p.frac - p.adc_shift));
            for (int64_t tile = 0; tile < p.tiles; tile++) {
                Real *__restrict charge = charges(t, tile, plane, n), *__restrict of_gain = step_gain + tile * columns;
                const uint8_t *__restrict inside =
                    p.inside + (((t * p.batch + n) * p.planes + plane) * p.tiles + tile) * columns;
                const int32_t *__restrict gain = p.gain + tile * columns;
                EACH (int64_t k = 0; k < columns; k++) {
                    const Real converted = dgates[k] * (scale * Real(inside[k]));
                    of_gain[k] += converted * charge[k];
                    charge[k] = converted * Real(gain[k]);
                }
            }
        }
    }
};

// Blocks of sequences on some threads.
template <class Real, class Int> class Blocks {
  public:
    explicit Blocks(const Layer &p) : p(p), shared(p) {}

    // Returns whether there was memory for it.
    bool run(int64_t threads) {
        const int64_t more = std::min(threads, count) - 1;
        std::vector<std::thread> others;
        others.reserve(size_t(std::max<int64_t>(more, 0)));
        try {
            for (int64_t n = 0; n < more; n++) others.emplace_back([this] { work(); });
        } catch (const std::exception &) {
            // The threads that there are do the work.
        }
        work();
        for (auto &other : others) other.join();
        return !failed;
    }

  private:
    const Layer &p;
    const Shared<Real, Int> shared;
    const int64_t count = (p.batch + shared.block - 1) / shared.block;
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    // Blocks are taken in order, and their sums are added in order.
    std::mutex adding;
    std::condition_variable added;
    int64_t turn = 0;

    void work() {
        try {
            Block<Real, Int> block(shared);
            for (int64_t n; !failed && (n = next++) < count;) {
                const int64_t first = n * shared.block;
                block.run(first, std::min(shared.block, p.batch - first));
                std::unique_lock<std::mutex> lock(adding);
                added.wait(lock, [&] { return turn == n || failed; });
                if (failed) return;
                block.add_sums();
                turn++;
                added.notify_all();
            }
        } catch (const std::bad_alloc &) {
            const std::lock_guard<std::mutex> lock(adding);
            failed = true;
            added.notify_all();
        }
    }
};

// Returns 1 if there is not enough memory, else 0.
template <class Real, class Int> int64_t run_back(const Layer &p, int64_t threads) {
    try {
        return !Blocks<Real, Int>(p).run(threads);
    } catch (const std::bad_alloc &) {
        return 1;
    }
}

}  // namespace

extern "C" {

int64_t run_back_f32_i32(const Layer *p, int64_t threads) { return run_back<float, int32_t>(*p, threads); }
int64_t run_back_f32_i64(const Layer *p, int64_t threads) { return run_back<float, int64_t>(*p, threads); }
int64_t run_back_f64_i64(const Layer *p, int64_t threads) { return run_back<double, int64_t>(*p, threads); }
}
