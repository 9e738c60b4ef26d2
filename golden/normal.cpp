// Standard normal numbers from a counter-based generator: number n of a seed is the same on every processor, in any
// order and on any number of threads.
//
// Words are those of Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), numbers
// those of Box and Muller. Every loop runs over counters, so that the compiler can vectorise it; no product is fused
// with a sum, so results do not depend on the vectors' width.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#define EACH _Pragma("GCC ivdep") for

namespace {

constexpr int64_t SOME = 64;         // counters at once
constexpr int64_t NUMBERS = 4 * SOME;

// Words of the counters (first + k, 0): word w of counter k is words[w][k].
void philox(uint64_t seed, uint64_t first, uint32_t (&words)[4][SOME]) {
    uint32_t *__restrict a = words[0], *__restrict b = words[1], *__restrict c = words[2], *__restrict d = words[3];
    EACH (int64_t k = 0; k < SOME; k++) {
        const uint64_t counter = first + uint64_t(k);
        a[k] = uint32_t(counter);
        b[k] = uint32_t(counter >> 32);
        c[k] = d[k] = 0;
    }
    uint32_t key_a = uint32_t(seed), key_b = uint32_t(seed >> 32);
    for (int round = 0; round < 10; round++) {
        EACH (int64_t k = 0; k < SOME; k++) {
            const uint64_t p = uint64_t(a[k]) * 0xD2511F53u, q = uint64_t(c[k]) * 0xCD9E8D57u;
            a[k] = uint32_t(q >> 32) ^ b[k] ^ key_a;
            b[k] = uint32_t(q);
            c[k] = uint32_t(p >> 32) ^ d[k] ^ key_b;
            d[k] = uint32_t(p);
        }
        key_a += 0x9E3779B9u;
        key_b += 0xBB67AE85u;
    }
}

inline float of_bits(int32_t bits) {
    union { int32_t bits; float value; } both = {bits};
    return both.value;
}

inline int32_t bits_of(float value) {
    union { float value; int32_t bits; } both = {value};
    return both.bits;
}

// log(x) for x > 0 that is normal, with a relative error of 2^-22: coefficients of Cephes.
inline float logarithm(float x) {
    // x = 2^power * (1 + m), with 1 + m from sqrt(1/2) to sqrt(2).
    const int32_t bits = bits_of(x) - 0x3F3504F3;
    const float power = float(bits >> 23), m = of_bits((bits & 0x7FFFFF) + 0x3F3504F3) - 1.0f;
    float y = 7.0376836292e-2f;
    y = y * m - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    const float square = m * m;
    return y * m * square - 2.12194440e-4f * power - 0.5f * square + m + 0.693359375f * power;
}

// Two normal numbers from two words.
inline void pair(uint32_t radius_word, uint32_t angle_word, float &one, float &other) {
    const float uniform = (float(int32_t(radius_word >> 8)) + 0.5f) * 0x1p-24f;  // above 0, up to 1
    const float radius = std::sqrt(-2.0f * logarithm(uniform));
    // A turn is four quarters: a quarter's number, and a part of one from -1/2 to 1/2.
    const int32_t turn = int32_t(angle_word >> 8), quarter = (turn + (1 << 21)) >> 22;
    const float x = float(turn - (quarter << 22)) * (0x1p-22f * 1.57079632679f), square = x * x;
    float sine = -1.9515295891e-4f;
    sine = sine * square + 8.3321608736e-3f;
    sine = sine * square - 1.6666654611e-1f;
    sine = sine * square * x + x;
    float cosine = 2.443315711809948e-5f;
    cosine = cosine * square - 1.388731625493765e-3f;
    cosine = cosine * square + 4.166664568298827e-2f;
    cosine = cosine * square * square - 0.5f * square + 1.0f;
    const bool odd = quarter & 1;
    const float up = odd ? cosine : sine, along = odd ? sine : cosine;
    one = radius * (quarter & 2 ? -up : up);
    other = radius * ((quarter + 1) & 2 ? -along : along);
}

// Numbers of SOME counters: 4 each, word by word.
void block(uint64_t seed, uint64_t first, float *__restrict to) {
    uint32_t words[4][SOME];
    philox(seed, first, words);
    for (int64_t half = 0; half < 2; half++) {
        const uint32_t *__restrict radius = words[2 * half], *__restrict angle = words[2 * half + 1];
        float *__restrict one = to + 2 * half * SOME, *__restrict other = one + SOME;
        EACH (int64_t k = 0; k < SOME; k++) pair(radius[k], angle[k], one[k], other[k]);
    }
}

}  // namespace

extern "C" {

// The first `count` words of a seed, counter by counter.
void philox_words(uint64_t seed, int64_t count, uint32_t *to) {
    for (int64_t n = 0; n < count; n += NUMBERS) {
        uint32_t words[4][SOME];
        philox(seed, uint64_t(n) / 4, words);
        for (int64_t k = n; k < n + NUMBERS && k < count; k++) to[k] = words[k % 4][(k - n) / 4];
    }
}

// The first `count` normal numbers of a seed.
void normal_numbers(uint64_t seed, int64_t count, float *to, int64_t threads) {
    const int64_t blocks = (count + NUMBERS - 1) / NUMBERS;
    const auto work = [=](int64_t from, int64_t end) {
        for (int64_t n = from; n < end; n++) {
            const int64_t at = n * NUMBERS;
            if (at + NUMBERS <= count) {
                block(seed, uint64_t(n) * SOME, to + at);
            } else {
                float rest[NUMBERS];
                block(seed, uint64_t(n) * SOME, rest);
                std::memcpy(to + at, rest, size_t(count - at) * sizeof(float));
            }
        }
    };
    std::vector<std::thread> others;
    for (int64_t n = 1; n < threads; n++) others.emplace_back(work, blocks * n / threads, blocks * (n + 1) / threads);
    work(0, blocks / (threads > 1 ? threads : 1));
    for (auto &other : others) other.join();
}
}
