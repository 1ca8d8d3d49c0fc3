/* Sending: what is due is stamped into frames that lie ready, and written, without the interpreter. */
#include "common.h"

#include <math.h>

enum { WRITES_PER_VISIT = 4, MOST_AT_ONCE = 512 };

static inline void put(uint8_t *frame, lg_place place, uint64_t value) {
  uint8_t *at = frame + place.at;
  switch (place.bytes) {
  case 8:
    if (!place.is_little) value = __builtin_bswap64(value);
    memcpy(at, &value, 8);
    break;
  case 4: {
    uint32_t half = (uint32_t)value;
    if (!place.is_little) half = __builtin_bswap32(half);
    memcpy(at, &half, 4);
    break;
  }
  case 2: {
    uint16_t quarter = (uint16_t)value;
    if (!place.is_little) quarter = __builtin_bswap16(quarter);
    memcpy(at, &quarter, 2);
    break;
  }
  case 1:
    *at = (uint8_t)value;
    break;
  }
}

/* When a slot is due: `Schedule.due_ns`, operation by operation. */
static int64_t due_of(const lg_sender *sender, int64_t slot) {
  const lg_stage *stage = sender->stages + sender->stage_count - 1;
  while (stage > sender->stages && stage->base > (double)slot) stage--;
  double k = (double)slot - stage->base;
  if (stage->pace != 0) return sender->epoch + stage->start + (int64_t)(k * stage->pace);
  if (k == 0) return sender->epoch + stage->start;
  double inside = stage->initial * stage->initial + stage->quarter * k;
  double root = stage->initial + sqrt(inside > 0 ? inside : 0);
  return sender->epoch + stage->start + (int64_t)(2 * k / root * 1e9);
}

static inline int64_t turns_of(const lg_sender *sender, int64_t member, int64_t slots) {
  return slots > member ? (slots - member + sender->members - 1) / sender->members : 0;
}

/* Stamps what a row is owed next into frames that lie side by side, as many as one record takes. */
static int64_t lay(lg_sender *sender, const lg_ring *ring, int64_t owed, int64_t now, uint8_t **start, int64_t *size) {
  int64_t done = sender->done[ring->row], sequence = sender->sent_count[ring->row], count = 0, due = 0;
  int64_t turn = done / sender->burst - 1, begins = 0; /* the next turn does, at this count */
  int64_t slot = done % ring->slots, most = owed < MOST_AT_ONCE ? owed : MOST_AT_ONCE;
  const int64_t *offset = sender->offsets + ring->first + slot, *bytes = sender->sizes + ring->first + slot;
  *start = ring->buffer + offset[0];
  *size = 0;
  for (; count < most && slot + count < ring->frames && *size + bytes[count] <= RECORD_BYTES; count++) {
    if (count == begins) {
      due = due_of(sender, ++turn * sender->members + ring->member);
      begins = (turn + 1) * sender->burst - done;
    }
    uint8_t *frame = ring->buffer + offset[count];
    put(frame, sender->sequence, (uint64_t)(sequence + count));
    put(frame, sender->due, (uint64_t)due);
    put(frame, sender->sent, (uint64_t)now);
    sender->due_ns[sender->noted + count] = due;
    sender->sent_ns[sender->noted + count] = now;
    *size += bytes[count];
  }
  return count;
}

EXPORT int lg_send(lg_sender *sender, const int64_t *position, int64_t *from, int64_t to, int64_t slots, int64_t expired,
                   int64_t until_ns) {
  for (; *from < to; ++*from) {
    const lg_ring *ring = &sender->rings[position[*from]];
    int64_t row = ring->row;
    if (row < 0) {
      sender->left[sender->lefts++] = position[*from];
      continue;
    }
    int64_t due = turns_of(sender, ring->member, slots) * sender->burst, end = sender->end[row];
    int64_t owed = (due < end ? due : end) - sender->done[row];
    if (!sender->ssl[row]) continue;
    if (owed <= 0) {
      sender->behind[row] = 0; /* it has caught up */
      continue;
    }
    int64_t too_old = turns_of(sender, ring->member, expired) * sender->burst;
    if (sender->behind[row] || (owed > sender->burst && sender->done[row] < too_old)) {
      sender->left[sender->lefts++] = position[*from];
      continue;
    }
    int64_t now = 0;
    for (int writes = 0; owed > 0 && writes < WRITES_PER_VISIT; writes++) {
      if (sender->noted + MOST_AT_ONCE > sender->most_noted) return LG_FULL;
      uint8_t *start;
      int64_t size;
      now = now_ns(sender->clock);
      int64_t count = lay(sender, ring, owed, now + sender->to_unix, &start, &size);
      int result = sender->ssl_write(sender->ssl[row], start, (int)size);
      if (result <= 0) {
        sender->failure = result;
        sender->failed = start;
        sender->failed_bytes = size;
        sender->failed_notifications = count;
        return LG_FAILED;
      }
      sender->noted += count;
      sender->done[row] += count;
      sender->sent_count[row] += count;
      sender->bytes += size;
      sender->writes++;
      owed -= count;
    }
    if (owed > 0) sender->again[sender->agains++] = position[*from];
    if (now > until_ns) {
      ++*from;
      return LG_LATE;
    }
  }
  return LG_DONE;
}
