// Products of the backward pass: rows of numbers by a matrix.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

// Memory for some numbers, from the beginning of a cache line; not set to 0.
template <class T> class Room {
  public:
    explicit Room(int64_t count) {
        const size_t bytes = (size_t(count > 0 ? count : 1) * sizeof(T) + 63) / 64 * 64;
        numbers = static_cast<T *>(std::aligned_alloc(64, bytes));
        if (!numbers) throw std::bad_alloc();
    }
    ~Room() { std::free(numbers); }
    Room(const Room &) = delete;
    Room &operator=(const Room &) = delete;
    operator T *() const { return numbers; }

  private:
    T *numbers;
};

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
