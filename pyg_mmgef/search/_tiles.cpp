// The best candidates of each row, kept while tiles of scores come by.
//
// A list holds up to `capacity` entries, a score and an id in one 64-bit number whose order is that
// of the scores (the lower id first among equal ones). As soon as it holds `width` entries, and
// whenever it is full, the best `width` stay and the last of them is what a newcomer must reach. What
// is kept in the end is the same in whatever order, and from however many threads, the tiles come. A
// tile is compared with these limits in one pass, so it costs little more than reading it; to rank it
// would cost more than the matrix product that made it.

#include "../_extension.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

namespace {

constexpr int CHUNK = 128;  // Scores compared before looking whether any of them is good enough.
constexpr int32_t NO_LIMIT = std::numeric_limits<int32_t>::min();
constexpr int FRESH = 256;  // Good scores of a row that are added to its list together.

inline int32_t widen(int16_t key) { return int32_t(key) * 65536 + (key < 0 ? 0xffff : 0); }
inline int32_t widen(int32_t key) { return key; }
inline void narrow(int32_t key, int16_t &out) { out = int16_t(key >> 16); }
inline void narrow(int32_t key, int32_t &out) { out = key; }

// A lock on a list.
class Lock {
 public:
  explicit Lock(std::atomic<uint8_t> &busy) : busy_(busy) {
    while (busy_.exchange(1, std::memory_order_acquire)) std::this_thread::yield();
  }
  ~Lock() { busy_.store(0, std::memory_order_release); }

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
  int64_t num_lists, width, capacity;

  template <typename T>
  T limit_of(int32_t row) const {
    T out;
    narrow(limit[row].load(std::memory_order_relaxed), out);
    return out;
  }

  // Add entries to a list. Where they don't fit, and as soon as there is a limit to be had, only the
  // best of all stay.
  void add(int32_t row, const int64_t *fresh, int64_t size, std::vector<int64_t> &pool) {
    const Lock lock(busy[row]);
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
      limit[row].store(key_of(first[width - 1]), std::memory_order_relaxed);
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

void check(const Lists &lists) {
  require(lists.num_lists >= 0 && lists.width >= 1 && lists.capacity >= lists.width,
          "'capacity' must be at least 'width', and 'width' at least 1");
}

void check(const Tile &tile, const Lists &lists) {
  check(lists);
  require(tile.num_rows >= 0 && tile.num_columns >= 0, "a tile has no negative size");
  const auto is_list = [&](int32_t row) { return row >= 0 && row < lists.num_lists; };
  require(std::all_of(tile.row, tile.row + tile.num_rows, is_list),
          "'row' holds ids of rows that have no list");
  const auto may_be_served = [&](int32_t column) { return column < lists.num_lists; };
  require(!tile.both || std::all_of(tile.column, tile.column + tile.num_columns, may_be_served),
          "'column' holds ids of rows that have no list");
}

struct Arguments {
  unsigned long long score, row, column, entry, count, limit, busy;
  Py_ssize_t itemsize, num_rows, num_columns, num_lists, width, capacity, start, stop;
  int exclude_self, both;

  Lists lists() const {
    return {pointer<int64_t>(entry),
            pointer<int32_t>(count),
            pointer<std::atomic<int32_t>>(limit),
            pointer<std::atomic<uint8_t>>(busy),
            num_lists,
            width,
            capacity};
  }
};

// Addresses of contiguous arrays, and numbers; see _tiles.pyi.
PyObject *offer(PyObject *, PyObject *args, PyObject *keywords) {
  Arguments a{};
  static const char *names[] = {"score",    "row",         "column",    "entry", "count",
                                "limit",    "busy",        "itemsize",  "num_rows", "num_columns",
                                "num_lists", "width",      "capacity",  "exclude_self", "both",
                                nullptr};
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "$KKKKKKKnnnnnnpp", const_cast<char **>(names),
                                   &a.score, &a.row, &a.column, &a.entry, &a.count, &a.limit,
                                   &a.busy, &a.itemsize, &a.num_rows, &a.num_columns, &a.num_lists,
                                   &a.width, &a.capacity, &a.exclude_self, &a.both))
    return nullptr;
  const Tile tile{pointer<void>(a.score),      a.num_rows,          a.num_columns,
                  pointer<int32_t>(a.row),     pointer<int32_t>(a.column),
                  a.exclude_self != 0,         a.both != 0};
  Lists lists = a.lists();
  return run_unlocked([&] {
    check(tile, lists);
    if (a.itemsize == sizeof(int16_t))
      offer_tile<int16_t>(tile, lists);
    else if (a.itemsize == sizeof(int32_t))
      offer_tile<int32_t>(tile, lists);
    else
      throw std::invalid_argument("'itemsize' must be 2 (bfloat16) or 4 (float32)");
  });
}

// Write the best of some lists, best first, and leave what is missing as it is; see _tiles.pyi.
PyObject *best(PyObject *, PyObject *args, PyObject *keywords) {
  Arguments a{};
  static const char *names[] = {"entry",    "count", "num_lists", "width", "capacity",
                                "start",    "stop",  "score",     "column", nullptr};
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "$KKnnnnnKK", const_cast<char **>(names),
                                   &a.entry, &a.count, &a.num_lists, &a.width, &a.capacity, &a.start,
                                   &a.stop, &a.score, &a.column))
    return nullptr;
  const Lists lists = a.lists();
  return run_unlocked([&] {
    check(lists);
    require(0 <= a.start && a.start <= a.stop && a.stop <= a.num_lists,
            "'start' and 'stop' must be a range of lists");
    float *score = pointer<float>(a.score);
    int64_t *column = pointer<int64_t>(a.column);
    for (int64_t row = a.start; row < a.stop; ++row, score += lists.width, column += lists.width) {
      int64_t *first = lists.entry + row * lists.capacity;
      const int64_t kept = std::min<int64_t>(lists.count[row], lists.width);
      keep_best(first, lists.count[row], lists.width);
      std::sort(first, first + kept, std::greater<int64_t>());
      for (int64_t i = 0; i < kept; ++i) {
        const int32_t bits = ordered(key_of(first[i]));
        std::memcpy(score + i, &bits, sizeof bits);
        column[i] = id_of(first[i]);
      }
    }
  });
}

template <PyObject *(*Function)(PyObject *, PyObject *, PyObject *)>
PyMethodDef method(const char *name) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(Function)),
          METH_VARARGS | METH_KEYWORDS, nullptr};
}

PyMethodDef methods[] = {method<offer>("offer"), method<best>("best"), {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_tiles", nullptr, 0, methods,
                      nullptr,               nullptr,  nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__tiles() {
  PyObject *out = PyModule_Create(&module);
  if (out != nullptr) PyModule_AddIntConstant(out, "NO_LIMIT", NO_LIMIT);
  return out;
}
