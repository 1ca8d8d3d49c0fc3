/* What receiving and sending have in common. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "native.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are put and read as they lie in memory");

#define EXPORT __attribute__((visibility("default")))
enum { RECORD_BYTES = 16384, HALF_BITS = 10 };

static inline int64_t now_ns(int64_t (*clock)(void)) {
  if (clock) return clock();
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* HdrHistogram's: 2,048 buckets of 1 ns, then 1,024 for each doubling. */
static inline int64_t bucket_of(uint64_t value) {
  if (value < 2 << HALF_BITS) return (int64_t)value;
  int coarse = 63 - __builtin_clzll(value) - HALF_BITS;
  return ((int64_t)coarse << HALF_BITS) + (int64_t)(value >> coarse);
}

/* The least and the greatest of some times. */
typedef struct {
  int64_t least, greatest;
} lg_span;

/* Whether it can count what was due and done then. */
static inline int takes(const lg_tally *tally, lg_span due, int64_t done) {
  return due.least >= tally->low && due.greatest < tally->high && due.greatest <= done &&
         due.least >= done - tally->highest && (due.greatest - tally->start) >> tally->shift < tally->slots;
}

/* Counts how long before `done` each of these times was. */
static inline void count_since(int64_t *buckets, const int64_t *times, int64_t length, lg_span span, int64_t done) {
  if (span.least == span.greatest) /* in a burst they are the same */
    buckets[bucket_of((uint64_t)(done - span.least))] += length;
  else
    for (int64_t i = 0; i < length; i++) buckets[bucket_of((uint64_t)(done - times[i]))]++;
}

/* Counts what it takes. */
static inline void tally_due(lg_tally *tally, const int64_t *due, int64_t length, lg_span span, int64_t done) {
  count_since(tally->since_due, due, length, span, done);
  int64_t slot = (span.least - tally->start) >> tally->shift;
  if (slot == (span.greatest - tally->start) >> tally->shift) {
    int64_t waits = length * (done - span.least);
    if (span.least != span.greatest)
      for (int64_t i = 0; i < length; i++) waits -= due[i] - span.least;
    tally->waited[slot] += length;
    tally->waits[slot] += waits;
  } else {
    for (int64_t i = 0; i < length; i++) {
      slot = (due[i] - tally->start) >> tally->shift;
      tally->waited[slot]++;
      tally->waits[slot] += done - due[i];
    }
  }
  tally->count += length;
  if (span.greatest > tally->latest) tally->latest = span.greatest;
}
