/* What receiving and sending have in common. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "native.h"

#define EXPORT __attribute__((visibility("default")))
enum { RECORD_BYTES = 16384 };

static inline int64_t now_ns(int64_t (*clock)(void)) {
  if (clock) return clock();
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}
