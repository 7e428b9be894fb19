// Products of a sparse matrix, by rows: a thread sums up a row in registers and writes it once, while
// the rows of the dense matrix that come next are already on their way from memory.
//
// The matrix is in CSR form: `start` of each row among the columns in `source`. Every row is computed
// by one thread in the order of its entries, so the result doesn't depend on the number of threads.

#include "../_extension.h"

#include <cstdint>

namespace {

constexpr int64_t AHEAD = 6;   // Entries between the one that is added and the one that is fetched.
constexpr int64_t TURN = 128;  // Rows that a thread takes at a time.
constexpr int BYTES = 32;      // Of a vector: compilers take longer ones apart where AVX-512 is absent.
constexpr int LINE = 64;       // Bytes of a line of the cache.

template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(BYTES), aligned(alignof(T)), may_alias));
};

struct Matrix {
  const int64_t *start, *source;
  const int64_t *rows;   // The rows to compute, or null for all of them.
  const int32_t *place;  // The row of the dense matrix for each source, or null for its own.
  int64_t num_rows, channels;

  int64_t row(int64_t i) const { return rows ? rows[i] : i; }
  int64_t at(int64_t entry) const { return place ? place[source[entry]] : source[entry]; }
};

// The entries of a row, and those of the row that comes next.
struct Entries {
  int64_t first, last, next_first, next_last;

  Entries(const Matrix &m, int64_t i) {
    const int64_t row = m.row(i), next = i + 1 < m.num_rows ? m.row(i + 1) : row;
    first = m.start[row], last = m.start[row + 1];
    next_first = m.start[next], next_last = m.start[next + 1];
    if (next_last - next_first > AHEAD) next_last = next_first + AHEAD;
  }
};

// What is added to the rows of the product: nothing, or a row for each, found like those of sources.
template <typename T>
struct Summand {
  const T *rows;
  const int32_t *place;

  const T *of(int64_t i, int64_t channels) const {
    return rows ? rows + (place ? place[i] : i) * channels : nullptr;
  }
};

template <typename V, int N>
inline __attribute__((always_inline)) void fetch(const V *from) {
  for (int n = 0; n < N; n += LINE / BYTES) __builtin_prefetch(from + n);
}

// Sum up N vectors of channels of one row.
template <typename T, int N>
inline __attribute__((always_inline)) void sum_vectors(const Matrix &m, const T *weight, const T *x,
                                                       const Entries &row, const T *add,
                                                       T *out) {
  typedef typename Vector<T>::type V;
  const auto at = [&](int64_t e) { return reinterpret_cast<const V *>(x + m.at(e) * m.channels); };
  V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = add ? reinterpret_cast<const V *>(add)[n] : V{};
  for (int64_t e = row.next_first; e < row.next_last; ++e) fetch<V, N>(at(e));
  for (int64_t e = row.first; e < row.last; ++e) {
    if (e + AHEAD < row.last) fetch<V, N>(at(e + AHEAD));
    const V *from = at(e);
    for (int n = 0; n < N; ++n) sum[n] += weight[e] * from[n];
  }
  for (int n = 0; n < N; ++n) reinterpret_cast<V *>(out)[n] = sum[n];
}

template <typename T>
inline __attribute__((always_inline)) void multiply_rows(const Matrix &m, const T *weight, const T *x,
                                                         const Summand<T> &summand, T *out,
                                                         int64_t begin, int64_t end) {
  constexpr int64_t WIDTH = BYTES / sizeof(T);
  for (int64_t i = begin; i < end; ++i) {
    const Entries row(m, i);
    const T *add = summand.of(i, m.channels);
    T *to = out + i * m.channels;
    int64_t c = 0;
    for (; c + 8 * WIDTH <= m.channels; c += 8 * WIDTH)
      sum_vectors<T, 8>(m, weight, x + c, row, add ? add + c : nullptr, to + c);
    for (; c + WIDTH <= m.channels; c += WIDTH)
      sum_vectors<T, 1>(m, weight, x + c, row, add ? add + c : nullptr, to + c);
    for (; c < m.channels; ++c) {
      T sum = add ? add[c] : T(0);
      for (int64_t e = row.first; e < row.last; ++e)
        sum += weight[e] * x[m.at(e) * m.channels + c];
      to[c] = sum;
    }
  }
}

template <typename T>
inline __attribute__((always_inline)) T inner_product(const T *a, const T *b, int64_t channels) {
  typedef typename Vector<T>::type V;
  constexpr int64_t WIDTH = BYTES / sizeof(T);
  constexpr int CHAINS = 4;  // Independent sums: an addition needn't wait for the one before it.
  V sums[CHAINS]{};
  const V *from = reinterpret_cast<const V *>(a), *with = reinterpret_cast<const V *>(b);
  const int64_t vectors = channels / WIDTH;
  int64_t v = 0;
  for (; v + CHAINS <= vectors; v += CHAINS)
    for (int n = 0; n < CHAINS; ++n) sums[n] += from[v + n] * with[v + n];
  for (; v < vectors; ++v) sums[0] += from[v] * with[v];
  const V total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  T sum = 0;
  for (int64_t n = 0; n < WIDTH; ++n) sum += total[n];
  for (int64_t c = vectors * WIDTH; c < channels; ++c) sum += a[c] * b[c];
  return sum;
}

template <typename T>
inline __attribute__((always_inline)) void sample_rows(const Matrix &m, const T *left, const T *right,
                                                       T *out, int64_t begin, int64_t end) {
  const auto fetch_all = [&](int64_t e) {
    const char *from = reinterpret_cast<const char *>(right + m.at(e) * m.channels);
    for (int64_t byte = 0; byte < int64_t(m.channels * sizeof(T)); byte += LINE)
      __builtin_prefetch(from + byte);
  };
  for (int64_t i = begin; i < end; ++i) {
    const Entries row(m, i);
    for (int64_t e = row.next_first; e < row.next_last; ++e) fetch_all(e);
    for (int64_t e = row.first; e < row.last; ++e) {
      if (e + AHEAD < row.last) fetch_all(e + AHEAD);
      out[e] = inner_product(left + i * m.channels, right + m.at(e) * m.channels, m.channels);
    }
  }
}

FOR_EVERY_CPU void multiply_rows_of(const Matrix &m, const float *weight, const float *x,
                                    const Summand<float> &add, float *out, int64_t begin, int64_t end) {
  multiply_rows(m, weight, x, add, out, begin, end);
}
FOR_EVERY_CPU void multiply_rows_of(const Matrix &m, const double *weight, const double *x,
                                    const Summand<double> &add, double *out, int64_t begin, int64_t end) {
  multiply_rows(m, weight, x, add, out, begin, end);
}
FOR_EVERY_CPU void sample_rows_of(const Matrix &m, const float *left, const float *right, float *out,
                                  int64_t begin, int64_t end) {
  sample_rows(m, left, right, out, begin, end);
}
FOR_EVERY_CPU void sample_rows_of(const Matrix &m, const double *left, const double *right, double *out,
                                  int64_t begin, int64_t end) {
  sample_rows(m, left, right, out, begin, end);
}

template <typename Rows>
void share(int64_t num_rows, int num_threads, const Rows &rows) {
#pragma omp parallel for num_threads(num_threads) schedule(dynamic, 1) if (num_threads > 1)
  for (int64_t begin = 0; begin < num_rows; begin += TURN)
    rows(begin, begin + TURN < num_rows ? begin + TURN : num_rows);
}

// The arguments of both functions: addresses of contiguous arrays (0 for null) and numbers.
struct Arguments {
  unsigned long long start, source, weight, x, place, add, place_to_add, rows;
  unsigned long long left, right, out;
  Py_ssize_t num_rows, channels;
  int in_double, num_threads;

  Matrix matrix() const {
    return {pointer<int64_t>(start), pointer<int64_t>(source), pointer<int64_t>(rows),
            pointer<int32_t>(place), num_rows,                 channels};
  }
};

template <typename T>
void multiply_all(const Arguments &args) {
  const Matrix m = args.matrix();
  const Summand<T> summand{pointer<T>(args.add), pointer<int32_t>(args.place_to_add)};
  share(m.num_rows, args.num_threads, [&](int64_t begin, int64_t end) {
    multiply_rows_of(m, pointer<T>(args.weight), pointer<T>(args.x), summand, pointer<T>(args.out),
                     begin, end);
  });
}

template <typename T>
void sample_all(const Arguments &args) {
  const Matrix m = args.matrix();
  share(m.num_rows, args.num_threads, [&](int64_t begin, int64_t end) {
    sample_rows_of(m, pointer<T>(args.left), pointer<T>(args.right), pointer<T>(args.out), begin, end);
  });
}

PyObject *multiply(PyObject *, PyObject *positional, PyObject *named) {
  static const char *names[] = {"start",    "source",    "weight",      "x",       "out",
                                "num_rows", "channels",  "in_double",   "num_threads",
                                "place",    "add",       "place_to_add", "rows",   nullptr};
  Arguments a{};
  if (!PyArg_ParseTupleAndKeywords(positional, named, "$KKKKKnnpiKKKK", const_cast<char **>(names),
                                   &a.start, &a.source, &a.weight, &a.x, &a.out, &a.num_rows,
                                   &a.channels, &a.in_double, &a.num_threads, &a.place, &a.add,
                                   &a.place_to_add, &a.rows))
    return nullptr;
  return run_unlocked([&] { a.in_double ? multiply_all<double>(a) : multiply_all<float>(a); });
}

PyObject *sample(PyObject *, PyObject *positional, PyObject *named) {
  static const char *names[] = {"start",    "source",    "left",        "right", "out", "num_rows",
                                "channels", "in_double", "num_threads", "rows",  nullptr};
  Arguments a{};
  if (!PyArg_ParseTupleAndKeywords(positional, named, "$KKKKKnnpiK", const_cast<char **>(names),
                                   &a.start, &a.source, &a.left, &a.right, &a.out, &a.num_rows,
                                   &a.channels, &a.in_double, &a.num_threads, &a.rows))
    return nullptr;
  return run_unlocked([&] { a.in_double ? sample_all<double>(a) : sample_all<float>(a); });
}

PyCFunction with_keywords(PyCFunctionWithKeywords function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"multiply", with_keywords(multiply), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"sample", with_keywords(sample), METH_VARARGS | METH_KEYWORDS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_products", nullptr, 0, methods,
                      nullptr,               nullptr,     nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__products() { return PyModule_Create(&module); }
