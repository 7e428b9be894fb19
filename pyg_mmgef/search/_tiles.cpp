// The best candidates of each row, kept while tiles of scores come by.
//
// A list holds up to `capacity` entries, a score and an id in one 64-bit number whose order is that
// of the scores (the lower id first among equal ones). As soon as it holds `width` entries, and
// whenever it is full, the best `width` stay and the last of them is what a newcomer must reach. What
// is kept in the end is the same in whatever order, and from however many threads, the tiles come. A
// tile is compared with these limits in one pass, so all it costs is to read it: ranking it by any
// means costs more than the matrix product that made it.

#include "../_extension.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <thread>
#include <vector>

namespace {

constexpr int CHUNK = 128;  // Scores that are compared before anyone asks whether one was good.
constexpr int32_t NO_LIMIT = std::numeric_limits<int32_t>::min();
constexpr int FRESH = 256;  // Good scores of a row that are added to its list together.

// Floats as integers of the same order: bfloat16 as int16, float32 as int32.
inline int16_t ordered(int16_t bits) { return bits ^ ((bits >> 15) & 0x7fff); }
inline int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
inline int32_t widen(int16_t key) { return int32_t(key) * 65536 + (key < 0 ? 0xffff : 0); }
inline int32_t widen(int32_t key) { return key; }
inline void narrow(int32_t key, int16_t &out) { out = int16_t(key >> 16); }
inline void narrow(int32_t key, int32_t &out) { out = key; }

inline int64_t entry_of(int32_t key, int32_t id) {
  return int64_t(uint64_t(uint32_t(key)) << 32 | uint32_t(~id));
}

// A thread's turn with a list.
class Turn {
 public:
  explicit Turn(std::atomic<uint8_t> &busy) : busy_(busy) {
    while (busy_.exchange(1, std::memory_order_acquire)) std::this_thread::yield();
  }
  ~Turn() { busy_.store(0, std::memory_order_release); }

 private:
  std::atomic<uint8_t> &busy_;
};

// Move the best entries to the front, the last of them to its place.
void keep_best(int64_t *first, int64_t size, int64_t width) {
  if (size >= width)
    std::nth_element(first, first + width - 1, first + size, std::greater<int64_t>());
}

struct Lists {
  int64_t *entry;
  int32_t *count;
  std::atomic<int32_t> *limit;
  std::atomic<uint8_t> *busy;
  int64_t width, capacity;

  template <typename T>
  T limit_of(int32_t row) const {
    T out;
    narrow(limit[row].load(std::memory_order_relaxed), out);
    return out;
  }

  // Add entries to a list. Where they don't fit, and as soon as there is a limit to be had, only the
  // best of all stay.
  void add(int32_t row, const int64_t *fresh, int64_t size, std::vector<int64_t> &pool) {
    const Turn turn(busy[row]);
    int64_t *first = entry + row * capacity;
    const int64_t total = count[row] + size;
    if (total < width || (total <= capacity && limit[row] != NO_LIMIT)) {
      std::copy_n(fresh, size, first + count[row]);
      count[row] += int32_t(size);
    } else {
      pool.assign(first, first + count[row]);
      pool.insert(pool.end(), fresh, fresh + size);
      keep_best(pool.data(), int64_t(pool.size()), width);
      std::copy_n(pool.data(), width, first);
      count[row] = int32_t(width);
      limit[row].store(int32_t(first[width - 1] >> 32), std::memory_order_relaxed);
    }
  }
};

struct Tile {
  const void *score;
  int64_t num_rows, num_columns;
  const int32_t *row, *column;
  bool exclude_self, both;
};

template <typename T>
inline void raise_to(T *key, const T *score, int64_t size) {
  for (int64_t i = 0; i < size; ++i) key[i] = std::max(key[i], ordered(score[i]));
}

template <typename T>
inline bool mark_chunk(const T *score, const T *limit, T row_limit, int size, T *good) {
  T any = 0;
  for (int i = 0; i < size; ++i) {
    const T least = limit[i] < row_limit ? limit[i] : row_limit;
    good[i] = ordered(score[i]) >= least ? -1 : 0;
    any |= good[i];
  }
  return any != 0;
}

// These loops are vectorised; each instruction set has its own copy.
FOR_EVERY_CPU void raise_maxima(int16_t *key, const int16_t *score, int64_t size) {
  raise_to(key, score, size);
}

FOR_EVERY_CPU void raise_maxima(int32_t *key, const int32_t *score, int64_t size) {
  raise_to(key, score, size);
}

FOR_EVERY_CPU bool mark(const int16_t *score, const int16_t *limit, int16_t row_limit, int size,
                        int16_t *good) {
  return size == CHUNK ? mark_chunk(score, limit, row_limit, CHUNK, good)
                       : mark_chunk(score, limit, row_limit, size, good);
}

FOR_EVERY_CPU bool mark(const int32_t *score, const int32_t *limit, int32_t row_limit, int size,
                        int32_t *good) {
  return size == CHUNK ? mark_chunk(score, limit, row_limit, CHUNK, good)
                       : mark_chunk(score, limit, row_limit, size, good);
}

// Return a lower bound of the n-th best of some scores: that of the maxima of groups of them.
template <typename T>
T bound_of_best(const T *score, int64_t size, int64_t n, std::vector<T> &maxima) {
  int64_t num_groups = size;
  while (num_groups / 2 >= 3 * n) num_groups /= 2;
  if (n > num_groups) return std::numeric_limits<T>::min();
  maxima.assign(num_groups, std::numeric_limits<T>::min());
  for (int64_t start = 0; start < size; start += num_groups)
    raise_maxima(maxima.data(), score + start, std::min(num_groups, size - start));
  std::nth_element(maxima.begin(), maxima.begin() + n - 1, maxima.end(), std::greater<T>());
  return maxima[n - 1];
}

template <typename T>
void offer_tile(const Tile &tile, Lists &lists) {
  // A column's own limit; out of reach where only rows are served.
  std::vector<T> limit(tile.num_columns, std::numeric_limits<T>::max());
  if (tile.both)
    for (int64_t c = 0; c < tile.num_columns; ++c)
      if (tile.column[c] >= 0) limit[c] = lists.limit_of<T>(tile.column[c]);
  constexpr int WORD = sizeof(uint64_t) / sizeof(T);
  alignas(64) T good[CHUNK] = {};
  int64_t fresh[FRESH];
  std::vector<int64_t> pool;
  std::vector<T> maxima;
  // Columns that a row may refuse.
  const int64_t num_refused =
      std::count_if(tile.column, tile.column + tile.num_columns, [](int32_t id) { return id < 0; }) +
      tile.exclude_self;
  for (int64_t r = 0; r < tile.num_rows; ++r) {
    const int32_t row = tile.row[r];
    const T *score = static_cast<const T *>(tile.score) + r * tile.num_columns;
    T row_limit = lists.limit_of<T>(row);
    if (lists.limit[row] == NO_LIMIT)
      row_limit = bound_of_best(score, tile.num_columns, lists.width + num_refused, maxima);
    int num_fresh = 0;
    for (int64_t start = 0; start < tile.num_columns; start += CHUNK) {
      const int size = int(std::min<int64_t>(CHUNK, tile.num_columns - start));
      if (!mark(score + start, limit.data() + start, row_limit, size, good)) continue;
      for (int i = 0; i < size; ++i) {
        uint64_t word;
        if (i % WORD == 0 && (std::memcpy(&word, good + i, sizeof word), word == 0)) {
          i += WORD - 1;
          continue;
        }
        if (!good[i]) continue;
        const int32_t column = tile.column[start + i];
        if (column < 0 || (tile.exclude_self && column == row)) continue;
        const T key = ordered(score[start + i]);
        if (key >= row_limit) {
          fresh[num_fresh++] = entry_of(widen(key), column);
          if (num_fresh == FRESH) {
            lists.add(row, fresh, num_fresh, pool);
            num_fresh = 0;
            row_limit = std::max(row_limit, lists.limit_of<T>(row));
          }
        }
        if (tile.both && key >= limit[start + i]) {
          const int64_t mirrored = entry_of(widen(key), row);
          lists.add(column, &mirrored, 1, pool);
          limit[start + i] = lists.limit_of<T>(column);
        }
      }
    }
    if (num_fresh > 0) lists.add(row, fresh, num_fresh, pool);
  }
}

// offer(score, itemsize, num_rows, num_columns, row, column, entry, count, limit, busy, width,
//       capacity, exclude_self, both): addresses of contiguous arrays and sizes.
PyObject *offer(PyObject *, PyObject *args) {
  unsigned long long score, row, column, entry, count, limit, busy;
  Py_ssize_t itemsize, num_rows, num_columns, width, capacity;
  int exclude_self, both;
  if (!PyArg_ParseTuple(args, "KnnnKKKKKKnnpp", &score, &itemsize, &num_rows, &num_columns, &row,
                        &column, &entry, &count, &limit, &busy, &width, &capacity, &exclude_self,
                        &both))
    return nullptr;
  const Tile tile{pointer<void>(score),     num_rows,          num_columns, pointer<int32_t>(row),
                  pointer<int32_t>(column), exclude_self != 0, both != 0};
  Lists lists{pointer<int64_t>(entry),
              pointer<int32_t>(count),
              pointer<std::atomic<int32_t>>(limit),
              pointer<std::atomic<uint8_t>>(busy),
              width,
              capacity};
  bool out_of_memory = false;
  Py_BEGIN_ALLOW_THREADS;
  try {
    if (itemsize == sizeof(int16_t))
      offer_tile<int16_t>(tile, lists);
    else
      offer_tile<int32_t>(tile, lists);
  } catch (const std::bad_alloc &) {
    out_of_memory = true;
  }
  Py_END_ALLOW_THREADS;
  if (out_of_memory) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

// best(entry, count, width, capacity, start, stop, score, column): write the best of some lists,
// best first, and leave what is missing as it is.
PyObject *best(PyObject *, PyObject *args) {
  unsigned long long entries, count, score, column;
  Py_ssize_t width, capacity, start, stop;
  if (!PyArg_ParseTuple(args, "KKnnnnKK", &entries, &count, &width, &capacity, &start, &stop, &score,
                        &column))
    return nullptr;
  int64_t *entry = pointer<int64_t>(entries);
  const int32_t *size = pointer<int32_t>(count);
  float *score_out = pointer<float>(score);
  int64_t *column_out = pointer<int64_t>(column);
  Py_BEGIN_ALLOW_THREADS;
  for (int64_t row = start; row < stop; ++row, score_out += width, column_out += width) {
    int64_t *first = entry + row * capacity;
    const int64_t kept = std::min<int64_t>(size[row], width);
    keep_best(first, size[row], width);
    std::sort(first, first + kept, std::greater<int64_t>());
    for (int64_t i = 0; i < kept; ++i) {
      const int32_t bits = ordered(int32_t(first[i] >> 32));
      std::memcpy(score_out + i, &bits, sizeof bits);
      column_out[i] = int64_t(~uint32_t(first[i]));
    }
  }
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

PyMethodDef methods[] = {{"offer", offer, METH_VARARGS, nullptr},
                         {"best", best, METH_VARARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_tiles", nullptr, 0, methods,
                      nullptr,               nullptr,  nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__tiles() {
  PyObject *out = PyModule_Create(&module);
  if (out != nullptr) PyModule_AddIntConstant(out, "NO_LIMIT", NO_LIMIT);
  return out;
}
