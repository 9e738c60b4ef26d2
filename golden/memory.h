// Memory of the kernels, from the beginning of a cache line.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

// Zeroed bytes.
class Memory {
  public:
    explicit Memory(int64_t bytes) {
        size_ = size_t((bytes + 63) / 64 * 64);
        data_ = std::aligned_alloc(64, size_ ? size_ : 64);
        if (!data_) throw std::bad_alloc();
        std::memset(data_, 0, size_);
    }
    ~Memory() { std::free(data_); }
    Memory(const Memory &) = delete;
    template <class T> T *as() const { return static_cast<T *>(data_); }
    int64_t size() const { return int64_t(size_); }

  private:
    void *data_;
    size_t size_;
};

// Zeroed numbers of one type.
template <class T> class Room {
  public:
    explicit Room(int64_t count) : memory(count * int64_t(sizeof(T))) {}
    operator T *() const { return memory.as<T>(); }

  private:
    const Memory memory;
};
