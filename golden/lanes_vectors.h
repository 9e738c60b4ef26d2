// Vectors of lanes.cpp: 16 lanes of integers and of reals, their products, transpositions and memory. Needs AVX2.

#pragma once

#include "memory.h"

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__AVX512VNNI__) && defined(__AVX512VL__) && defined(__AVX512BW__) && !defined(WITHOUT_VNNI)
#define VNNI 512
#elif defined(__AVXVNNI__) && !defined(WITHOUT_VNNI)
#define VNNI 256
#else
#define VNNI 0
#endif

namespace {

constexpr int64_t LANES = 16;
constexpr int64_t SLOTS = 4;  // columns at once: the gates of a unit, or four units with one gate

using V = __m256i;

// 16 int32 lanes, in the order in which `pack` and `unpack` are fastest: lanes 0..3 and 8..11 in `a`, the
// others in `b`.
struct alignas(64) Wide {
    V a, b;
};

// What converts charges: vectors of all lanes where instructions take 512 bits, else of half of them.
using Sums = int32_t __attribute__((vector_size(VNNI == 512 ? 64 : 32), may_alias));
using Words = uint32_t __attribute__((vector_size(sizeof(Sums)), may_alias));
constexpr int PARTS = sizeof(Wide) / sizeof(Sums);

inline Sums *parts_of(Wide &w) { return reinterpret_cast<Sums *>(&w); }
inline const Words *parts_of(const Wide &w) { return reinterpret_cast<const Words *>(&w); }

// Sums of the pairs of bytes in each half of 32 bits, each with the sign of the same byte of `signs`.
inline Sums add_signed(Sums sizes, Words signs) {
#if VNNI == 512
    const __mmask64 negative = _mm512_movepi8_mask(__m512i(signs));
    const __m512i by = _mm512_mask_blend_epi8(negative, _mm512_set1_epi8(1), _mm512_set1_epi8(-1));
    return Sums(_mm512_maddubs_epi16(__m512i(sizes), by));
#else
    const V by = _mm256_sign_epi8(_mm256_set1_epi8(1), _mm256_or_si256(V(signs), _mm256_set1_epi8(1)));
    return Sums(_mm256_maddubs_epi16(V(sizes), by));
#endif
}

inline V pack(Wide w) { return _mm256_packs_epi32(w.a, w.b); }
inline V set16(int64_t v) { return _mm256_set1_epi16(int16_t(v)); }
inline V set32(int64_t v) { return _mm256_set1_epi32(int32_t(v)); }
inline V load(const void *at) { return _mm256_load_si256(static_cast<const V *>(at)); }
inline void store(void *at, V v) { _mm256_store_si256(static_cast<V *>(at), v); }
inline V clamp16(V v, V low, V high) { return _mm256_min_epi16(_mm256_max_epi16(v, low), high); }
inline V clamp32(V v, V low, V high) { return _mm256_min_epi32(_mm256_max_epi32(v, low), high); }
inline __m128i count(int64_t shift) { return _mm_cvtsi64_si128(shift); }

inline Wide interleave(V even, V odd) {
    return {_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd)};
}
inline Wide unpack(V v) { return interleave(v, _mm256_srai_epi16(v, 15)); }

// Add the products of two vectors of pairs by one pair. In assembly: compilers move products ahead until sums
// no longer fit in registers, and copy registers, which makes this half as fast.
inline void multiply_add(V &sum_a, V &sum_b, V a, V b, const int16_t *pair) {
    V by, product;
#if VNNI == 256
    by = _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float *>(pair)));
    sum_a = _mm256_dpwssd_avx_epi32(sum_a, a, by);
    sum_b = _mm256_dpwssd_avx_epi32(sum_b, b, by);
#else
    asm volatile(
        "vpbroadcastd %[pair], %[by]\n\t"
        "vpmaddwd %[by], %[a], %[product]\n\t"
        "vpmaddwd %[by], %[b], %[by]\n\t"
        "vpaddd %[product], %[sum_a], %[sum_a]\n\t"
        "vpaddd %[by], %[sum_b], %[sum_b]"
        : [sum_a] "+x"(sum_a), [sum_b] "+x"(sum_b), [by] "=&x"(by), [product] "=&x"(product)
        : [a] "x"(a), [b] "x"(b), [pair] "m"(*reinterpret_cast<const int32_t(*)[1]>(pair)));
#endif
}

// Add the products of two vectors of unsigned quads by one signed quad: sums of 32 bits with VNNI, else of 16.
inline void multiply_add_bytes(V &sum_a, V &sum_b, V a, V b, const int8_t *quad) {
    V by, product;
#if VNNI == 256
    by = _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float *>(quad)));
    sum_a = _mm256_dpbusd_avx_epi32(sum_a, a, by);
    sum_b = _mm256_dpbusd_avx_epi32(sum_b, b, by);
#else
    asm volatile(
        "vpbroadcastd %[quad], %[by]\n\t"
        "vpmaddubsw %[by], %[a], %[product]\n\t"
        "vpmaddubsw %[by], %[b], %[by]\n\t"
        "vpaddw %[product], %[sum_a], %[sum_a]\n\t"
        "vpaddw %[by], %[sum_b], %[sum_b]"
        : [sum_a] "+x"(sum_a), [sum_b] "+x"(sum_b), [by] "=&x"(by), [product] "=&x"(product)
        : [a] "x"(a), [b] "x"(b), [quad] "m"(*reinterpret_cast<const int32_t(*)[1]>(quad)));
#endif
}

#if VNNI == 512
// Add the products of pairs or quads of rows by one of cells. In assembly, as above: a compiler copies sums.
inline void add_pairs(__m512i &sum, __m512i rows, const int32_t *cell) {
    asm("vpdpwssd %[cell]%{1to16%}, %[rows], %[sum]" : [sum] "+v"(sum) : [rows] "v"(rows), [cell] "m"(*cell));
}
inline void add_quads(__m512i &sum, __m512i rows, const int32_t *cell) {
    asm("vpdpbusd %[cell]%{1to16%}, %[rows], %[sum]" : [sum] "+v"(sum) : [rows] "v"(rows), [cell] "m"(*cell));
}

// The columns of a group: their cells, and what their sums start with.
struct Group {
    const int32_t *cells, *start;
};

// Sums of the products of `count` pairs or quads of rows by those of the cells of two groups, each of 32 bits. Two
// groups, because vectors of rows are as slow to load as cells. Each column has two sums, used in turn: a product
// waits for the one before it on the same sum, which takes longer than the other seven products.
template <void (*add)(__m512i &, __m512i, const int32_t *)>
inline void multiply_512(Group one, Group two, const Wide *row, int64_t count, Wide *of_one, Wide *of_two) {
    // Not arrays, which compilers keep in memory here.
    const auto first = [](int32_t start) { return _mm512_set1_epi32(start); };
    __m512i a0 = first(one.start[0]), a1 = first(one.start[1]), a2 = first(one.start[2]), a3 = first(one.start[3]);
    __m512i b0 = first(two.start[0]), b1 = first(two.start[1]), b2 = first(two.start[2]), b3 = first(two.start[3]);
    const __m512i zero = _mm512_setzero_si512();
    __m512i c0 = zero, c1 = zero, c2 = zero, c3 = zero, d0 = zero, d1 = zero, d2 = zero, d3 = zero;
    const auto four = [](__m512i rows, const int32_t *&cell, __m512i &s0, __m512i &s1, __m512i &s2, __m512i &s3) {
        add(s0, rows, cell);
        add(s1, rows, cell + 1);
        add(s2, rows, cell + 2);
        add(s3, rows, cell + 3);
        cell += SLOTS;
    };
    for (int64_t k = 0; k < count / 2; k++, row += 2) {
        const __m512i even = _mm512_load_si512(row), odd = _mm512_load_si512(row + 1);
        four(even, one.cells, a0, a1, a2, a3);
        four(even, two.cells, b0, b1, b2, b3);
        four(odd, one.cells, c0, c1, c2, c3);
        four(odd, two.cells, d0, d1, d2, d3);
    }
    if (count % 2) {
        const __m512i even = _mm512_load_si512(row);
        four(even, one.cells, a0, a1, a2, a3);
        four(even, two.cells, b0, b1, b2, b3);
    }
    const auto give = [](Wide &to, __m512i even, __m512i odd) { _mm512_store_si512(&to, _mm512_add_epi32(even, odd)); };
    give(of_one[0], a0, c0);
    give(of_one[1], a1, c1);
    give(of_one[2], a2, c2);
    give(of_one[3], a3, c3);
    give(of_two[0], b0, d0);
    give(of_two[1], b1, d1);
    give(of_two[2], b2, d2);
    give(of_two[3], b3, d3);
}
#endif

// Transpose 8 x 8 int16: vectors of 8 lanes, `stride` apart, to those of 8 numbers of a lane each.
inline void transpose(const int16_t *from, int64_t stride, __m128i (&to)[8]) {
    __m128i s[8];
    for (int k = 0; k < 8; k++) to[k] = _mm_loadu_si128((const __m128i *)(from + k * stride));
    for (int round = 0; round < 3; round++) {
        for (int k = 0; k < 4; k++) {
            s[2 * k] = _mm_unpacklo_epi16(to[k], to[k + 4]);
            s[2 * k + 1] = _mm_unpackhi_epi16(to[k], to[k + 4]);
        }
        std::memcpy(to, s, sizeof s);
    }
}

inline void transpose(__m256 (&to)[8]) {
    __m256 s[8];
    for (int k = 0; k < 8; k += 2) {
        s[k] = _mm256_unpacklo_ps(to[k], to[k + 1]);
        s[k + 1] = _mm256_unpackhi_ps(to[k], to[k + 1]);
    }
    for (int k = 0; k < 8; k += 4)
        for (int m = 0; m < 2; m++) {
            to[k + 2 * m] = _mm256_shuffle_ps(s[k + m], s[k + m + 2], 0x44);
            to[k + 2 * m + 1] = _mm256_shuffle_ps(s[k + m], s[k + m + 2], 0xEE);
        }
    for (int k = 0; k < 4; k++) {
        s[k] = _mm256_permute2f128_ps(to[k], to[k + 4], 0x20);
        s[k + 4] = _mm256_permute2f128_ps(to[k], to[k + 4], 0x31);
    }
    std::memcpy(to, s, sizeof s);
}

inline void transpose(const float *from, int64_t stride, __m256 (&to)[8]) {
    for (int k = 0; k < 8; k++) to[k] = _mm256_loadu_ps(from + k * stride);
    transpose(to);
}

// Double precision numbers of 16 lanes, four each.
using Real = __m256d[4];

inline void to_real(Wide v, Real &to) {
    to[0] = _mm256_cvtepi32_pd(_mm256_castsi256_si128(v.a));
    to[1] = _mm256_cvtepi32_pd(_mm256_castsi256_si128(v.b));
    to[2] = _mm256_cvtepi32_pd(_mm256_extracti128_si256(v.a, 1));
    to[3] = _mm256_cvtepi32_pd(_mm256_extracti128_si256(v.b, 1));
}

// The nearest integers, half-way values up.
inline Wide rounded(const Real &v) {
    __m128i of[4];
    for (int k = 0; k < 4; k++) of[k] = _mm256_cvttpd_epi32(_mm256_floor_pd(_mm256_add_pd(v[k], _mm256_set1_pd(0.5))));
    return {_mm256_set_m128i(of[2], of[0]), _mm256_set_m128i(of[3], of[1])};
}

// Write eight numbers in another type; for bytes, whether they are not 0.
inline void write(int16_t *to, __m128i v) { _mm_storeu_si128((__m128i *)to, v); }
inline void write(int32_t *to, __m128i v) { _mm256_storeu_si256((V *)to, _mm256_cvtepi16_epi32(v)); }
inline void write(float *to, __m128i v) { _mm256_storeu_ps(to, _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(v))); }
inline void write(float *to, __m256 v) { _mm256_storeu_ps(to, v); }
inline void write(uint8_t *to, __m128i v) {
    const __m128i bytes = _mm_and_si128(_mm_packs_epi16(v, v), _mm_set1_epi8(1));
    _mm_storel_epi64((__m128i *)to, bytes);
}

}  // namespace
