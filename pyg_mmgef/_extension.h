// What the extensions share: Python's limited API, code for several processors, addresses of arrays,
// errors, and scores as integers of the same order.

#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12
#define FOR_EVERY_CPU __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FOR_EVERY_CPU __attribute__((target_clones("default", "avx2")))
#endif
#else
#define FOR_EVERY_CPU
#endif

namespace {

template <typename T>
T *pointer(unsigned long long address) {
  return reinterpret_cast<T *>(static_cast<uintptr_t>(address));
}

// Run a function without the interpreter's lock. An exception becomes one of Python's: no C++
// exception may leave an extension.
template <typename Function>
PyObject *run_unlocked(const Function &function) {
  PyObject *type = nullptr;
  std::string message;
  Py_BEGIN_ALLOW_THREADS;
  try {
    function();
  } catch (const std::bad_alloc &) {
    type = PyExc_MemoryError;
  } catch (const std::invalid_argument &error) {
    type = PyExc_ValueError;
    message = error.what();
  } catch (const std::exception &error) {
    type = PyExc_RuntimeError;
    message = error.what();
  }
  Py_END_ALLOW_THREADS;
  if (type != nullptr) {
    PyErr_SetString(type, message.c_str());
    return nullptr;
  }
  Py_RETURN_NONE;
}

// Throw what becomes a ValueError unless a condition holds.
inline void require(bool condition, const char *message) {
  if (!condition) throw std::invalid_argument(message);
}

// Floats as integers of the same order, and the other way round: bfloat16 as int16, float32 as int32.
inline int16_t ordered(int16_t bits) { return bits ^ ((bits >> 15) & 0x7fff); }
inline int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
inline int32_t ordered(float score) {
  int32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return ordered(bits);
}

// A score, as an ordered integer, and an id in one number: larger for a higher score, and for the lower
// id among equal scores. It is that of `to_keys` in search/_keys.py.
inline int64_t entry_of(int32_t key, int32_t id) {
  return int64_t(uint64_t(uint32_t(key)) << 32 | uint32_t(~id));
}
inline int32_t key_of(int64_t entry) { return int32_t(entry >> 32); }
inline int64_t id_of(int64_t entry) { return int64_t(~uint32_t(entry)); }

}  // namespace
