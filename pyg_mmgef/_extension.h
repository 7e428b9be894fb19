// What the extensions share: Python's limited API, code for several processors, addresses of arrays.

#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>

#include <cstdint>

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

}  // namespace
