// One step of a recurrent layer in float32 with injected noise, forward and backward.
//
// golden/float_layer.py computes the products and calls `float_step` between them. It has the same in readable
// form; tests compare both up to rounding. A vector has one number per unit, for one step. Its noise is normal,
// in proportion to the vector's root mean square over the units, and gradients flow through that too. `clean`
// values have no noise yet; the backward pass recomputes the noisy ones from them.

#include <cmath>
#include <cstdint>

#define EACH _Pragma("GCC ivdep") for

// golden/native.py reads this declaration; each field is 8 bytes wide.
struct FloatLayer {
    int64_t batch, steps, gates, units, lstm;
    int64_t relu;             // the function of an RNN: ReLU in the place of tanh
    int64_t vectors;          // with noise
    int64_t inside;           // of these: only the gates' pre-activations, or every one of the cell; a further
                              // one is h before the next product
    double power_ratio;       // power of the noise relative to the signal
    const float *normal;      // (batch, steps, vectors, units): pre-activations, activations, c, h; or
                              // pre-activations, h before the product
    float *z;                 // (steps, batch, gates, units) clean pre-activations; become their gradients
    float *a;                 // (steps, batch, gates, units) clean activations of an LSTM
    float *c;                 // (steps, batch, units) clean c of an LSTM
    float *h;                 // (steps, batch, units) clean h
    float *state;             // (steps + 1, batch, units) h as it goes into the next product; the first is 0
    const float *grad_h;      // (batch, steps, units) from the next layer or the head
    const float *grad_recurrent;  // (batch, units) from the next step
    float *grad_c;            // (batch, units) of noisy c after this step; becomes that before it
    float *scratch;           // 12 * gates * units
};

namespace {

// e^x with a relative error of 2^-22, for |x| <= 87: 2^n times a polynomial (coefficients of Cephes).
inline float exponential(float x) {
    const float n = std::floor(x * 1.44269504f + 0.5f);
    x = x - n * 0.693359375f + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * x + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    y = y * x * x + x + 1.0f;
    union { int32_t bits; float value; } power = {(int32_t(n) + 127) << 23};
    return y * power.value;
}

inline float sigmoid(float x) {
    x = x < -40.0f ? -40.0f : x > 40.0f ? 40.0f : x;
    return 1.0f / (1.0f + exponential(-x));
}

inline float hyperbolic(float x) {
    x = x < -20.0f ? -20.0f : x > 20.0f ? 20.0f : x;
    return 1.0f - 2.0f / (1.0f + exponential(2.0f * x));
}

const float LEAST = 1e-12f;  // avoids the infinite slope of a square root at 0

struct Noise {
    const FloatLayer &p;
    const float *normal;  // numbers of this sequence and step

    Noise(const FloatLayer &p, int64_t t, int64_t n)
        : p(p), normal(p.vectors ? p.normal + (n * p.steps + t) * p.vectors * p.units : nullptr) {}

    float rms(const float *__restrict v) const {
        float power = 0;
#pragma omp simd reduction(+ : power)
        for (int64_t unit = 0; unit < p.units; unit++) power += v[unit] * v[unit];
        return std::sqrt(power / float(p.units) * float(p.power_ratio) + LEAST);
    }

    // Add noise to the vector with this number.
    void add_one(int64_t vector, const float *__restrict v, float *__restrict noisy) const {
        const float *__restrict z = normal + vector * p.units;
        const float scale = rms(v);
        EACH (int64_t unit = 0; unit < p.units; unit++) noisy[unit] = v[unit] + z[unit] * scale;
    }

    // Add noise to `count` vectors of the cell, starting with number `vector`.
    void add(int64_t vector, int64_t count, const float *__restrict v, float *__restrict noisy) const {
        for (int64_t k = 0; k < count; k++, v += p.units, noisy += p.units) {
            if (vector + k < p.inside)
                add_one(vector + k, v, noisy);
            else
                EACH (int64_t unit = 0; unit < p.units; unit++) noisy[unit] = v[unit];
        }
    }

    // Convert the gradient of a noisy vector to that of the clean vector v, in place.
    void back_one(int64_t vector, const float *__restrict v, float *__restrict grad) const {
        const float *__restrict z = normal + vector * p.units;
        float along = 0;
#pragma omp simd reduction(+ : along)
        for (int64_t unit = 0; unit < p.units; unit++) along += grad[unit] * z[unit];
        const float each = along * float(p.power_ratio) / (float(p.units) * rms(v));
        EACH (int64_t unit = 0; unit < p.units; unit++) grad[unit] += each * v[unit];
    }

    void back(int64_t vector, int64_t count, const float *__restrict v, float *__restrict grad) const {
        for (int64_t k = 0; k < count && vector + k < p.inside; k++, v += p.units, grad += p.units)
            back_one(vector + k, v, grad);
    }

    // From h, vector number `vector` of the cell, to what goes into the next product.
    void feed(int64_t vector, const float *__restrict h, float *__restrict state) const {
        p.inside < p.vectors ? add_one(p.inside, h, state) : add(vector, 1, h, state);
    }

    // From the gradients of h outside of the layer and of what went into the next product to that of h.
    void feed_back(int64_t vector, const float *__restrict h, const float *__restrict outside,
                   const float *__restrict after, float *__restrict grad) const {
        if (p.inside < p.vectors) {
            EACH (int64_t u = 0; u < p.units; u++) grad[u] = after[u];
            back_one(p.inside, h, grad);
            EACH (int64_t u = 0; u < p.units; u++) grad[u] += outside[u];
        } else {
            EACH (int64_t u = 0; u < p.units; u++) grad[u] = outside[u] + after[u];
            back(vector, 1, h, grad);
        }
    }
};

void step_lstm(const FloatLayer &p, int64_t t, int64_t n) {
    const int64_t units = p.units, gates = 4 * units, at = t * p.batch + n;
    const Noise noise(p, t, n);
    float *__restrict z = p.scratch, *__restrict a = z + gates, *__restrict c = a + gates;
    float *__restrict before = c + units;
    noise.add(0, 4, p.z + at * gates, z);
    float *__restrict clean = p.a + at * gates;
    EACH (int64_t k = 0; k < 2 * units; k++) clean[k] = sigmoid(z[k]);
    EACH (int64_t k = 2 * units; k < 3 * units; k++) clean[k] = hyperbolic(z[k]);
    EACH (int64_t k = 3 * units; k < 4 * units; k++) clean[k] = sigmoid(z[k]);
    noise.add(4, 4, clean, a);
    float *__restrict clean_c = p.c + at * units, *__restrict h = p.h + at * units;
    if (t) {
        Noise(p, t - 1, n).add(8, 1, clean_c - p.batch * units, before);
        EACH (int64_t u = 0; u < units; u++)
            clean_c[u] = a[units + u] * before[u] + a[u] * a[2 * units + u];
    } else {
        EACH (int64_t u = 0; u < units; u++) clean_c[u] = a[u] * a[2 * units + u];
    }
    noise.add(8, 1, clean_c, c);
    EACH (int64_t u = 0; u < units; u++) h[u] = a[3 * units + u] * hyperbolic(c[u]);
    noise.feed(9, h, p.state + (at + p.batch) * units);
}

void step_rnn(const FloatLayer &p, int64_t t, int64_t n) {
    const int64_t units = p.units, at = (t * p.batch + n) * units;
    const Noise noise(p, t, n);
    noise.add(0, 1, p.z + at, p.scratch);
    float *__restrict z = p.scratch, *__restrict h = p.h + at;
    if (p.relu)
        EACH (int64_t u = 0; u < units; u++) h[u] = z[u] > 0 ? z[u] : 0;
    else
        EACH (int64_t u = 0; u < units; u++) h[u] = hyperbolic(z[u]);
    noise.feed(1, h, p.state + at + p.batch * units);
}

void back_lstm(const FloatLayer &p, int64_t t, int64_t n) {
    const int64_t units = p.units, gates = 4 * units, at = t * p.batch + n;
    const Noise noise(p, t, n);
    float *__restrict a = p.scratch, *__restrict c = a + gates, *__restrict before = c + units;
    float *__restrict grad_h = before + units, *__restrict grad_c = grad_h + units;
    float *__restrict grad = grad_c + units;
    const float *clean_c = p.c + at * units, *clean = p.a + at * gates;
    noise.add(4, 4, clean, a);
    noise.add(8, 1, clean_c, c);
    if (t) {
        Noise(p, t - 1, n).add(8, 1, clean_c - p.batch * units, before);
    } else {
        EACH (int64_t u = 0; u < units; u++) before[u] = 0;
    }
    const float *__restrict outside = p.grad_h + (n * p.steps + t) * units;
    const float *__restrict after = p.grad_recurrent + n * units;
    noise.feed_back(9, p.h + at * units, outside, after, grad_h);
    float *__restrict later = p.grad_c + n * units;
    EACH (int64_t u = 0; u < units; u++) {
        const float tanh = hyperbolic(c[u]);
        grad[3 * units + u] = grad_h[u] * tanh;
        grad_c[u] = later[u] + grad_h[u] * a[3 * units + u] * (1 - tanh * tanh);
    }
    noise.back(8, 1, clean_c, grad_c);
    EACH (int64_t u = 0; u < units; u++) {
        grad[u] = grad_c[u] * a[2 * units + u];
        grad[units + u] = grad_c[u] * before[u];
        grad[2 * units + u] = grad_c[u] * a[u];
        later[u] = grad_c[u] * a[units + u];
    }
    noise.back(4, 4, clean, grad);
    const float *__restrict s = clean;
    EACH (int64_t k = 0; k < 2 * units; k++) grad[k] *= s[k] * (1 - s[k]);
    EACH (int64_t k = 2 * units; k < 3 * units; k++) grad[k] *= 1 - s[k] * s[k];
    EACH (int64_t k = 3 * units; k < 4 * units; k++) grad[k] *= s[k] * (1 - s[k]);
    float *__restrict z = p.z + at * gates;
    noise.back(0, 4, z, grad);
    EACH (int64_t k = 0; k < gates; k++) z[k] = grad[k];
}

void back_rnn(const FloatLayer &p, int64_t t, int64_t n) {
    const int64_t units = p.units, at = (t * p.batch + n) * units;
    const Noise noise(p, t, n);
    const float *__restrict outside = p.grad_h + (n * p.steps + t) * units;
    const float *__restrict after = p.grad_recurrent + n * units;
    const float *__restrict h = p.h + at;
    float *__restrict grad = p.scratch, *__restrict z = p.z + at;
    noise.feed_back(1, h, outside, after, grad);
    if (p.relu)
        EACH (int64_t u = 0; u < units; u++) grad[u] = h[u] > 0 ? grad[u] : 0;
    else
        EACH (int64_t u = 0; u < units; u++) grad[u] *= 1 - h[u] * h[u];
    noise.back(0, 1, z, grad);
    EACH (int64_t u = 0; u < units; u++) z[u] = grad[u];
}

}  // namespace

extern "C" {

int64_t float_layer_size() { return sizeof(FloatLayer); }
// From the pre-activations of step t to its h.
void float_step(const FloatLayer *p, int64_t t) {
    for (int64_t n = 0; n < p->batch; n++) p->lstm ? step_lstm(*p, t, n) : step_rnn(*p, t, n);
}

// From the gradient of h to that of the pre-activations, which replaces them in z.
void float_step_back(const FloatLayer *p, int64_t t) {
    for (int64_t n = 0; n < p->batch; n++) p->lstm ? back_lstm(*p, t, n) : back_rnn(*p, t, n);
}
}
