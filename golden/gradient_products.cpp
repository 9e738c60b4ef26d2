// Products of the backward pass, in tiles that fit in the registers. Products and sums are fused (golden/native.py),
// because gradients need not round as PyTorch's do.

#include "gradient_products.h"

#include <cstring>

namespace {

// Bytes of a vector register, and the registers that make a panel: 8 rows by a panel fit in the registers.
#if defined(__AVX512F__)
constexpr int64_t BYTES = 64, VECTORS = 2;
#elif defined(__AVX__)
constexpr int64_t BYTES = 32, VECTORS = 1;
#elif defined(__aarch64__)
constexpr int64_t BYTES = 16, VECTORS = 2;
#else
constexpr int64_t BYTES = 16, VECTORS = 1;
#endif
constexpr int64_t ROWS = 8;

template <class Real> struct Panel {
    typedef Real V __attribute__((vector_size(BYTES)));
    static constexpr int64_t WIDTH = VECTORS * BYTES / int64_t(sizeof(Real));

    static int64_t count(int64_t width) { return (width + WIDTH - 1) / WIDTH; }

    // Products of ROWS rows by a panel.
    static void multiply(const Real *const (&row)[ROWS], const Real *panel, int64_t depth, V (&sum)[ROWS][VECTORS]) {
        V sums[ROWS][VECTORS] = {};
        for (int64_t k = 0; k < depth; k++, panel += WIDTH) {
            const V *by = reinterpret_cast<const V *>(panel);
#pragma GCC unroll 8
            for (int64_t n = 0; n < ROWS; n++)
#pragma GCC unroll 2
                for (int64_t v = 0; v < VECTORS; v++) sums[n][v] += row[n][k] * by[v];
        }
        std::memcpy(sum, sums, sizeof sums);
    }
};

}  // namespace

template <class Real>
Matrix<Real>::Matrix(const Real *from, int64_t stride, int64_t depth, int64_t width)
    : depth(depth), width(width), panels(Panel<Real>::count(width) * depth * Panel<Real>::WIDTH) {
    constexpr int64_t WIDTH = Panel<Real>::WIDTH;
    Real *to = panels;
    for (int64_t first = 0; first < width; first += WIDTH) {
        const int64_t some = width - first < WIDTH ? width - first : WIDTH;
        for (int64_t k = 0; k < depth; k++, to += WIDTH)
            std::memcpy(to, from + k * stride + first, size_t(some) * sizeof(Real));
    }
}

template <class Real>
void Matrix<Real>::multiply(const Real *rows, int64_t stride, int64_t count, Real *to, int64_t to_stride) const {
    constexpr int64_t WIDTH = Panel<Real>::WIDTH;
    typename Panel<Real>::V sum[ROWS][VECTORS];
    // A panel after the other: it stays in the L2 cache, where a large matrix does not.
    for (int64_t first = 0; first < width; first += WIDTH) {
        const int64_t some = width - first < WIDTH ? width - first : WIDTH;
        for (int64_t n = 0; n < count; n += ROWS) {
            const Real *row[ROWS];
            // In the place of rows that are not there the last one, whose products are not kept.
            for (int64_t k = 0; k < ROWS; k++) row[k] = rows + (n + k < count ? n + k : count - 1) * stride;
            Panel<Real>::multiply(row, panels + first * depth, depth, sum);
            for (int64_t k = 0; k < ROWS && n + k < count; k++)
                std::memcpy(to + (n + k) * to_stride + first, sum[k], size_t(some) * sizeof(Real));
        }
    }
}

template class Matrix<float>;
template class Matrix<double>;
