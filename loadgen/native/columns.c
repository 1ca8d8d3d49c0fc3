/* Columns of durations. */
#include "common.h"

EXPORT int64_t lg_count(int64_t *counts, const int64_t *values, int64_t length, int64_t highest) {
  int64_t clamped = 0;
  for (int64_t i = 0; i < length; i++) {
    int64_t value = values[i];
    if (value < 0 || value > highest) {
      value = value < 0 ? 0 : highest;
      clamped++;
    }
    counts[bucket_of((uint64_t)value)]++;
  }
  return clamped;
}
