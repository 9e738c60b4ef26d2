// Products of the backward pass: rows of numbers by a matrix.

#pragma once

#include "memory.h"

#include <cstdint>

// A matrix in the order in which products read it.
template <class Real> class Matrix {
  public:
    // from: (depth, width), its lines `stride` numbers apart.
    Matrix(const Real *from, int64_t stride, int64_t depth, int64_t width);

    // to (count, width) = rows (count, depth) times the matrix; lines are `stride` and `to_stride` numbers apart.
    void multiply(const Real *rows, int64_t stride, int64_t count, Real *to, int64_t to_stride) const;

  private:
    const int64_t depth, width;
    const Room<Real> panels;  // (panels, depth, columns of a panel), filled up with 0
};
