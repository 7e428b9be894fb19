// Neighbours for a sample: some edges are chosen from each of many lists, and the nodes that they lead
// to are numbered in the order in which they first appear.
//
// A list is a range of edges. What is chosen from it depends on the seed and on the list's key alone,
// and not on other lists or on threads: random number n of a list is a hash of its state and n, as in
// SplitMix64. Nothing here is as large as the graph.

#include "../_extension.h"

#include <algorithm>
#include <cstdint>

namespace {

constexpr int64_t TURN = 256;  // Lists that a thread handles at a time.
constexpr int64_t AHEAD = 16;  // Keys whose slots are fetched from memory before they are needed.
constexpr int64_t EMPTY = -1;  // The key of a free slot; keys are not negative.
constexpr uint64_t STEP = 0x9e3779b97f4a7c15;

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The random numbers of a list.
struct Numbers {
  uint64_t state;
  Numbers(uint64_t seed, int64_t key) : state(mix(seed ^ mix(uint64_t(key) + STEP))) {}
  int64_t below(int64_t limit, int64_t n) const {
    const double number = double(mix(state + uint64_t(n + 1) * STEP) >> 11) * 0x1p-53;
    return std::min(int64_t(number * double(limit)), limit - 1);
  }
};

// A list of edges, and the number to choose.
struct List {
  int64_t begin, end, num;
  const int64_t *weight_before;  // The sum of the weights before each edge, or null.

  int64_t weight() const { return weight_before[end] - weight_before[begin]; }

  // The edge whose weight covers a part of the sum.
  int64_t edge_at(int64_t part) const {
    return std::upper_bound(weight_before + begin + 1, weight_before + end, part) - weight_before - 1;
  }
};

void choose_all(const List &list, int64_t *out) {
  for (int64_t n = 0; n < list.num; ++n) out[n] = list.begin + n;
}

void choose_repeatedly(const List &list, const Numbers &numbers, int64_t *out) {
  for (int64_t n = 0; n < list.num; ++n)
    out[n] = list.weight_before == nullptr
                 ? list.begin + numbers.below(list.end - list.begin, n)
                 : list.edge_at(list.weight_before[list.begin] + numbers.below(list.weight(), n));
}

void insert(int64_t edge, int64_t *place, int64_t *end) {
  std::move_backward(place, end, end + 1);
  *place = edge;
}

// Every subset of a size is equally likely (Floyd's algorithm); what is chosen is kept ascending.
void choose_distinct(const List &list, const Numbers &numbers, int64_t *out) {
  for (int64_t n = 0; n < list.num; ++n) {
    const int64_t last = list.end - list.num + n;  // Beyond all that is chosen.
    const int64_t edge = list.begin + numbers.below(last + 1 - list.begin, n);
    int64_t *place = std::lower_bound(out, out + n, edge);
    if (place != out + n && *place == edge)
      out[n] = last;
    else
      insert(edge, place, out + n);
  }
}

// One after the other in proportion to the weights of what is left; kept ascending.
void choose_distinct_by_weight(const List &list, const Numbers &numbers, int64_t *out) {
  int64_t left = list.weight();
  const auto weight = [&](int64_t edge) {
    return list.weight_before[edge + 1] - list.weight_before[edge];
  };
  for (int64_t n = 0; n < list.num; ++n) {
    int64_t part = list.weight_before[list.begin] + numbers.below(left, n);
    int64_t *place = out;
    for (; place != out + n && part >= list.weight_before[*place]; ++place) part += weight(*place);
    const int64_t edge = list.edge_at(part);
    insert(edge, place, out + n);
    left -= weight(edge);
  }
}

void choose_from(const List &list, bool replace, const Numbers &numbers, int64_t *out) {
  if (replace)
    choose_repeatedly(list, numbers, out);
  else if (list.num == list.end - list.begin)
    choose_all(list, out);
  else if (list.weight_before == nullptr)
    choose_distinct(list, numbers, out);
  else
    choose_distinct_by_weight(list, numbers, out);
}

// Addresses of contiguous arrays (0 for null) and numbers; see _neighbors.pyi.
struct Choice {
  unsigned long long begin, end, slot, key, weight_before, seed, out;
  Py_ssize_t num_lists;
  int replace, num_threads;
};

void choose_for_all(const Choice &a) {
  const auto *begin = pointer<int64_t>(a.begin), *end = pointer<int64_t>(a.end),
             *slot = pointer<int64_t>(a.slot), *key = pointer<int64_t>(a.key),
             *weight_before = pointer<int64_t>(a.weight_before);
  auto *out = pointer<int64_t>(a.out);
  const int64_t num_lists = a.num_lists;
#pragma omp parallel for num_threads(a.num_threads) schedule(dynamic, 1) if (a.num_threads > 1)
  for (int64_t turn = 0; turn < num_lists; turn += TURN)
    for (int64_t i = turn; i < std::min(turn + TURN, num_lists); ++i)
      choose_from({begin[i], end[i], slot[i + 1] - slot[i], weight_before}, a.replace != 0,
                  Numbers(a.seed, key[i]), out + slot[i]);
}

PyObject *choose(PyObject *, PyObject *positional, PyObject *named) {
  static const char *names[] = {"begin", "end",       "slot",    "key",         "weight_before", "seed",
                                "out",   "num_lists", "replace", "num_threads", nullptr};
  Choice a{};
  if (!PyArg_ParseTupleAndKeywords(positional, named, "$KKKKKKKnpi", const_cast<char **>(names),
                                   &a.begin, &a.end, &a.slot, &a.key, &a.weight_before, &a.seed,
                                   &a.out, &a.num_lists, &a.replace, &a.num_threads))
    return nullptr;
  return run_unlocked([&] { choose_for_all(a); });
}

// A hash table with open addresses: a key and its number in each slot. At most half of it is used.
struct Slot {
  int64_t key, number;
};

void prefetch(const void *address) {
#if defined(__GNUC__)
  __builtin_prefetch(address, 1);
#else
  (void)address;
#endif
}

struct Numbered {
  unsigned long long keys, table, numbers, nodes, progress;
  Py_ssize_t num_keys, capacity, num_nodes;
};

void number_all(const Numbered &a) {
  require(a.capacity > 0 && (a.capacity & (a.capacity - 1)) == 0, "'capacity' must be a power of two");
  const auto *keys = pointer<int64_t>(a.keys);
  auto *table = pointer<Slot>(a.table);
  auto *numbers = pointer<int64_t>(a.numbers), *nodes = pointer<int64_t>(a.nodes),
       *progress = pointer<int64_t>(a.progress);
  const uint64_t mask = uint64_t(a.capacity) - 1;
  int64_t num_nodes = a.num_nodes, done = 0;
  for (; done < a.num_keys && 2 * num_nodes < a.capacity; ++done) {
    const int64_t key = keys[done];
    if (done + AHEAD < a.num_keys) prefetch(&table[mix(uint64_t(keys[done + AHEAD])) & mask]);
    uint64_t place = mix(uint64_t(key)) & mask;
    while (table[place].key != EMPTY && table[place].key != key) place = (place + 1) & mask;
    if (table[place].key == EMPTY) {
      table[place] = {key, num_nodes};
      nodes[num_nodes++ - a.num_nodes] = key;
    }
    numbers[done] = table[place].number;
  }
  progress[0] = done;
  progress[1] = num_nodes;
}

PyObject *number(PyObject *, PyObject *positional, PyObject *named) {
  static const char *names[] = {"keys",     "table",    "numbers",   "nodes", "progress",
                                "num_keys", "capacity", "num_nodes", nullptr};
  Numbered a{};
  if (!PyArg_ParseTupleAndKeywords(positional, named, "$KKKKKnnn", const_cast<char **>(names), &a.keys,
                                   &a.table, &a.numbers, &a.nodes, &a.progress, &a.num_keys,
                                   &a.capacity, &a.num_nodes))
    return nullptr;
  return run_unlocked([&] { number_all(a); });
}

PyCFunction with_keywords(PyCFunctionWithKeywords function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"choose", with_keywords(choose), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"number", with_keywords(number), METH_VARARGS | METH_KEYWORDS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_neighbors", nullptr, 0, methods,
                      nullptr,               nullptr,      nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__neighbors() { return PyModule_Create(&module); }
