/* Sending: what is due is stamped into frames that lie ready, and written, without the interpreter. */
#include "common.h"

#include <math.h>

enum { WRITES_PER_VISIT = 4, MOST_AT_ONCE = 512 };

static inline void put(uint8_t *frame, lg_place place, uint64_t value) {
  uint8_t *at = frame + place.at;
  if (place.bytes == 8) {
    if (!place.is_little) value = __builtin_bswap64(value);
    memcpy(at, &value, 8);
    return;
  }
  switch (place.bytes) {
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
  const lg_place sequence_at = sender->sequence, due_at = sender->due, sent_at = sender->sent;
  int64_t done = sender->done[ring->row], sequence = sender->sent_count[ring->row], count = 0, due = 0, all = 0;
  int64_t turn = done / sender->burst - 1, begins = 0; /* the next turn does, at this count */
  int64_t slot = done % ring->slots, most = owed < MOST_AT_ONCE ? owed : MOST_AT_ONCE;
  const int64_t *offset = sender->offsets + ring->first + slot, *bytes = sender->sizes + ring->first + slot;
  int64_t *due_ns = sender->due_ns + sender->noted;
  *start = ring->buffer + offset[0];
  if (most > ring->frames - slot) most = ring->frames - slot;
  for (; count < most && all + bytes[count] <= RECORD_BYTES; count++) {
    if (count == begins) {
      due = due_of(sender, ++turn * sender->members + ring->member);
      begins = (turn + 1) * sender->burst - done;
    }
    uint8_t *frame = ring->buffer + offset[count];
    put(frame, sequence_at, (uint64_t)(sequence + count));
    put(frame, due_at, (uint64_t)due);
    put(frame, sent_at, (uint64_t)now);
    due_ns[count] = due;
    all += bytes[count];
  }
  *size = all;
  return count;
}

/* When so many went out, or may have, behind those that are noted. */
static void hold(lg_sender *sender, int64_t count, int64_t sent) {
  for (int64_t i = 0; i < count; i++) sender->sent_ns[sender->noted + i] = sent;
}

/* Counts what has just gone out, or notes it for Python. */
static void note(lg_sender *sender, int64_t count, int64_t size, int64_t sent) {
  const int64_t *due = sender->due_ns + sender->noted;
  lg_span span = {due[0], due[count - 1]}; /* later ones are due later */
  if (sender->tally && takes(sender->tally, span, sent)) {
    tally_due(sender->tally, due, count, span, sent);
  } else {
    hold(sender, count, sent);
    sender->noted += count;
  }
  sender->notifications += count;
  sender->bytes += size;
  sender->writes++;
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
    int is_old = 0;
    if (owed > sender->burst) {
      if (expired < 0) return LG_ASKS;
      is_old = sender->done[row] < turns_of(sender, ring->member, expired) * sender->burst;
    }
    if (sender->behind[row] || is_old) {
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
        hold(sender, count, now + sender->to_unix);
        sender->failure = result;
        sender->failed = start;
        sender->failed_bytes = size;
        sender->failed_notifications = count;
        return LG_FAILED;
      }
      note(sender, count, size, now + sender->to_unix);
      sender->done[row] += count;
      sender->sent_count[row] += count;
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
