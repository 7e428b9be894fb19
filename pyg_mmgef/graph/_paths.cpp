// Items that share users: for each item, the paths to a user and on to an item are counted in one
// array, which stays in the cache, and only the best ends are kept. The product of all items with all
// items, of which a block is many times larger than what is kept of it, is never made.

#include "../_extension.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace {

constexpr int64_t MANY = 64;  // Ends gathered, beyond twice what is kept, before the best are selected.

enum Ranking { BY_SHARED, BY_JACCARD, BY_LIFT, BY_COSINE };

struct Interactions {
  const int64_t *item_start, *user_start;  // Of the users of each item, and the items of each user.
  const int32_t *user, *item;
  const float *num_users_of;  // The number of users of each item.
  int64_t num_items;
};

struct Wanted {
  int ranking;
  bool averaged;  // A path counts 1 / (number of items of its user).
  uint32_t min_count;
};

// What orders the ends of the paths of an item as their weights do. Counts are whole numbers, so
// equal weights give equal ranks.
float rank_of(int ranking, float shared, float count_i, float count_j) {
  if (ranking == BY_SHARED) return shared;
  if (ranking == BY_JACCARD) return shared / (count_j + count_i);
  return (ranking == BY_LIFT ? shared : shared * shared) / count_j;
}

// An end of paths: its rank and id in one number, and what its weight is made of.
struct End {
  int64_t entry;
  double shared;
  bool operator>(const End &other) const { return entry > other.entry; }
};

// Write the best ends of some items to their slots, best first and the lower item first among equal
// ones, and how many there are.
void best_of_items(const Interactions &data, const Wanted &wanted, int64_t start, int64_t stop,
                   const int64_t *slot, int64_t *source, double *shared, int64_t *degree) {
  std::vector<uint32_t> count(data.num_items, 0);
  std::vector<double> sum(wanted.averaged ? data.num_items : 0, 0.0);
  std::vector<int32_t> reached;
  std::vector<End> ends;
  for (int64_t i = start; i < stop; ++i) {
    for (int64_t e = data.item_start[i]; e < data.item_start[i + 1]; ++e) {
      const int64_t first = data.user_start[data.user[e]], last = data.user_start[data.user[e] + 1];
      for (int64_t f = first; f < last; ++f)
        if (count[data.item[f]]++ == 0) reached.push_back(data.item[f]);
      if (wanted.averaged) {
        const double share = 1.0 / double(last - first);
        for (int64_t f = first; f < last; ++f) sum[data.item[f]] += share;
      }
    }
    const int64_t room = slot[i - start + 1] - slot[i - start];
    const auto keep_best = [&] {
      if (int64_t(ends.size()) <= room) return;
      std::nth_element(ends.begin(), ends.begin() + room, ends.end(), std::greater<End>());
      ends.resize(room);
    };
    int64_t least = std::numeric_limits<int64_t>::min();  // Ends below that are not kept.
    for (const int32_t j : reached) {
      const uint32_t paths = std::exchange(count[j], 0);
      const double shared_by = wanted.averaged ? std::exchange(sum[j], 0.0) : double(paths);
      if (j == i || paths < wanted.min_count) continue;
      const float rank =
          rank_of(wanted.ranking, float(shared_by), data.num_users_of[i], data.num_users_of[j]);
      const int64_t entry = entry_of(ordered(rank), j);
      if (entry < least) continue;
      ends.push_back({entry, shared_by});
      if (int64_t(ends.size()) == 2 * room + MANY) {
        keep_best();
        least = std::min_element(ends.begin(), ends.end(), [](const End &a, const End &b) {
                  return b > a;
                })->entry;
      }
    }
    keep_best();
    std::sort(ends.begin(), ends.end(), std::greater<End>());
    for (const End &end : ends) {
      *source++ = id_of(end.entry);
      *shared++ = end.shared;
    }
    source += room - int64_t(ends.size());
    shared += room - int64_t(ends.size());
    degree[i - start] = int64_t(ends.size());
    reached.clear();
    ends.clear();
  }
}

struct Arguments {
  unsigned long long item_start, user, user_start, item, num_users_of, slot, source, shared, degree;
  Py_ssize_t num_items, min_count, start, stop;
  int ranking, averaged;
};

// Addresses of contiguous arrays, and numbers; see _paths.pyi.
PyObject *best(PyObject *, PyObject *args, PyObject *keywords) {
  Arguments a{};
  static const char *names[] = {"item_start", "user",      "user_start", "item",   "num_users_of",
                                "num_items",  "ranking",   "averaged",   "min_count", "start",
                                "stop",       "slot",      "source",     "shared", "degree",
                                nullptr};
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "$KKKKKnipnnnKKKK", const_cast<char **>(names),
                                   &a.item_start, &a.user, &a.user_start, &a.item, &a.num_users_of,
                                   &a.num_items, &a.ranking, &a.averaged, &a.min_count, &a.start,
                                   &a.stop, &a.slot, &a.source, &a.shared, &a.degree))
    return nullptr;
  const Interactions data{pointer<int64_t>(a.item_start), pointer<int64_t>(a.user_start),
                          pointer<int32_t>(a.user),       pointer<int32_t>(a.item),
                          pointer<float>(a.num_users_of), a.num_items};
  return run_unlocked([&] {
    require(0 <= a.start && a.start <= a.stop && a.stop <= a.num_items,
            "'start' and 'stop' must be a range of items");
    require(BY_SHARED <= a.ranking && a.ranking <= BY_COSINE, "'ranking' must be 0, 1, 2 or 3");
    require(a.min_count >= 0, "'min_count' must not be negative");
    const Wanted wanted{a.ranking, a.averaged != 0,
                        uint32_t(std::min<Py_ssize_t>(a.min_count, UINT32_MAX))};
    best_of_items(data, wanted, a.start, a.stop, pointer<int64_t>(a.slot), pointer<int64_t>(a.source),
                  pointer<double>(a.shared), pointer<int64_t>(a.degree));
  });
}

PyMethodDef methods[] = {
    {"best", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(best)),
     METH_VARARGS | METH_KEYWORDS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_paths", nullptr, 0, methods,
                      nullptr,               nullptr,  nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__paths() { return PyModule_Create(&module); }
