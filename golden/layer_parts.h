// Parts of a step that forward and backward pass share.

#pragma once

#include "kernels.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#define EACH _Pragma("GCC ivdep") for

namespace {

template <class Int> Int half_up(Int a, int64_t shift) {
    return (a + ((Int(1) << shift) >> 1)) >> shift;
}

template <class Int> Int clamp(Int a, int64_t low, int64_t high) {
    return a < Int(low) ? Int(low) : a > Int(high) ? Int(high) : a;
}

// Injected noise of one sequence and step, in proportion to the root mean square of each vector of `units`
// numbers; the results are rounded.
struct Noise {
    const Layer &p;
    const float *normal;
    bool every;  // on every vector, not only on pre-activations
    bool feeds;  // on h before the next product

    Noise(const Layer &p, int64_t t, int64_t n)
        : p(p), normal(p.normal ? p.normal + (n * p.steps + t) * p.vectors * p.units : nullptr),
          every(normal && p.in_cell > p.gates), feeds(normal && p.in_cell < p.vectors) {}

    template <class Int> double rms(const Int *__restrict v) const {
        double power = 0;  // exact: golden/fast.py (`measurable`) keeps it below 2^53
#pragma omp simd reduction(+ : power)
        for (int64_t unit = 0; unit < p.units; unit++) power += double(v[unit]) * double(v[unit]);
        return std::sqrt(power / double(p.units) * p.power_ratio + 1e-6);
    }

    // Add noise to `count` vectors, starting with number `vector`. In place if noisy is v.
    template <class Int> void add(int64_t vector, int64_t count, const Int *v, Int *noisy) const {
        for (int64_t k = 0; k < count; k++, v += p.units, noisy += p.units) {
            const float *__restrict z = normal + (vector + k) * p.units;
            const double scale = rms(v);
            EACH (int64_t unit = 0; unit < p.units; unit++)
                noisy[unit] = Int(std::floor(double(v[unit]) + double(z[unit]) * scale + 0.5));
        }
    }

    // Convert gradients of noisy vectors to those of v in place; the noise's amplitude has a gradient too.
    template <class Int, class Real>
    void back(int64_t vector, int64_t count, const Int *__restrict v, Real *__restrict grad) const {
        for (int64_t k = 0; k < count; k++, v += p.units, grad += p.units) {
            const float *__restrict z = normal + (vector + k) * p.units;
            Real along = 0;
#pragma omp simd reduction(+ : along)
            for (int64_t unit = 0; unit < p.units; unit++) along += grad[unit] * Real(z[unit]);
            const Real each = Real(double(along) * p.power_ratio / (double(p.units) * rms(v)));
            EACH (int64_t unit = 0; unit < p.units; unit++) grad[unit] += each * Real(v[unit]);
        }
    }
};

// Pre-activations of one sequence from its ADC codes, before saturation.
void pre_activations(const Layer &p, const int32_t *__restrict codes, int32_t *__restrict a) {
    const int64_t columns = p.gates * p.units;
    const int32_t one = 1 << p.frac;
    EACH (int64_t column = 0; column < columns; column++)
        a[column] = codes[column] * one + p.bias[column];
}

// c with injected noise, saturated; zeros before the first step (t < 0).
void noisy_state(const Layer &p, int64_t t, int64_t n, const int32_t *c, int32_t *noisy) {
    if (t < 0) {
        std::memset(noisy, 0, sizeof(int32_t) * p.units);
        return;
    }
    Noise(p, t, n).add(2 * p.gates, 1, c, noisy);
    EACH (int64_t unit = 0; unit < p.units; unit++) noisy[unit] = clamp(noisy[unit], p.state_low, p.state_high);
}

// h as it goes into the next product, with noise: real numbers, not yet DAC codes. `clean` becomes h.
void noisy_h(const Layer &p, const Noise &noise, const int16_t *__restrict h, int32_t *__restrict clean,
             double *__restrict noisy) {
    EACH (int64_t unit = 0; unit < p.units; unit++) clean[unit] = h[unit];
    const float *__restrict z = noise.normal + p.in_cell * p.units;
    const double scale = noise.rms(clean);
    EACH (int64_t unit = 0; unit < p.units; unit++) noisy[unit] = double(clean[unit]) + double(z[unit]) * scale;
}

}  // namespace
