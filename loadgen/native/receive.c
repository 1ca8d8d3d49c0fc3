/* Waiting and receiving: records are read, and notifications taken out of them, without the interpreter. */
#include "common.h"

#include <errno.h>
#include <sys/epoll.h>

enum { MOST_EVENTS = 1024, WANT_READ = 2 };

EXPORT const char *lg_sources(void) { return LG_SOURCES; }

static inline uint64_t word(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, 8);
  return value;
}

/* As numpy makes int64 of it: a u64 keeps its bits. */
static inline int64_t number(const uint8_t *frame, lg_place place) {
  const uint8_t *at = frame + place.at;
  if (place.bytes == 8) {
    uint64_t value = word(at);
    return (int64_t)(place.is_little ? value : __builtin_bswap64(value));
  }
  switch (place.bytes) {
  case 4: {
    uint32_t value;
    memcpy(&value, at, 4);
    if (!place.is_little) value = __builtin_bswap32(value);
    return place.is_signed ? (int64_t)(int32_t)value : (int64_t)value;
  }
  case 2: {
    uint16_t value;
    memcpy(&value, at, 2);
    if (!place.is_little) value = __builtin_bswap16(value);
    return place.is_signed ? (int64_t)(int16_t)value : (int64_t)value;
  }
  default:
    return place.is_signed ? (int64_t)(int8_t)*at : (int64_t)*at;
  }
}

/* The size of the notification that begins here, or 0 where none does, whole. left: bytes that there are; at least the
 * fixed part. */
static inline int64_t size_of(const lg_layout *layout, const uint8_t *frame, int64_t left) {
  int64_t size = number(frame, layout->length) + layout->length_added;
  int64_t readings = number(frame, layout->count);
  if (readings < 0 || readings > layout->most_readings) return 0;
  if (size != layout->fixed + readings * layout->reading || size > left) return 0;
  for (int32_t i = 0; i < layout->constants; i++)
    if (number(frame, layout->constant[i].place) != layout->constant[i].value) return 0;
  return size;
}

static inline void widen(lg_span *span, int64_t time) {
  if (time < span->least) span->least = time;
  if (time > span->greatest) span->greatest = time;
}

/* Whether a frame is as the one before it, but for what differs from notification to notification. */
static inline int is_alike(const lg_layout *layout, const uint8_t *frame, const uint8_t *before) {
  uint64_t differs = 0;
  for (int32_t i = 0; i < layout->words; i++) {
    lg_word alike = layout->alike[i];
    differs |= (word(frame + alike.at) ^ word(before + alike.at)) & alike.bits;
  }
  return !differs;
}

/* The columns of what lies in [frame, end), if that is whole notifications and nothing else, and what the chunk and the
 * spans say of them; returns how many, or 0. */
static int64_t take(const lg_receiver *receiver, const uint8_t *frame, const uint8_t *end, lg_chunk *chunk, lg_span *due,
                    lg_span *sent) {
  const lg_layout *layout = &receiver->layout;
  const lg_place sequence_at = layout->sequence, due_at = layout->due, sent_at = layout->sent;
  const int64_t first = receiver->taken, most = receiver->most_taken;
  int64_t taken = first, sequence = 0, service = 0, size = 0, in_order = 1;
  chunk->services = 0;
  for (const uint8_t *before = frame; frame < end; before = frame, frame += size, taken++) {
    if (end - frame < layout->fixed || taken == most) return 0;
    if (taken == first || !layout->words || size > end - frame || !is_alike(layout, frame, before)) {
      if (!(size = size_of(layout, frame, end - frame))) return 0;
      if (layout->subservice.bytes) service = number(frame, layout->subservice);
      chunk->services |= service >= 0 && service < 63 ? INT64_C(1) << service : -1;
    }
    if (sequence_at.bytes) {
      int64_t is_next = (int64_t)((uint64_t)sequence + 1);
      receiver->sequence[taken] = sequence = number(frame, sequence_at);
      in_order &= sequence == is_next || taken == first;
    }
    if (due_at.bytes) widen(due, receiver->due[taken] = number(frame, due_at));
    if (sent_at.bytes) widen(sent, receiver->sent[taken] = number(frame, sent_at));
    if (layout->subservice.bytes) receiver->subservice[taken] = service;
    if (layout->time.bytes) receiver->time[taken] = number(frame, layout->time);
  }
  if (sequence_at.bytes && taken > first) chunk->first = receiver->sequence[first];
  chunk->in_order = in_order;
  return taken - first;
}

/* Whether what was just taken of this row is as expected, and has been counted: behind the columns it is forgotten. */
static int counted(lg_receiver *receiver, int32_t row, const lg_chunk *chunk, int64_t count, int64_t came_ns, lg_span due,
                   lg_span sent) {
  lg_tally *tally = receiver->tally;
  int64_t done = came_ns + receiver->to_unix, first = receiver->taken;
  if (!tally || !receiver->layout.due.bytes || !receiver->layout.sent.bytes) return 0;
  if (!chunk->in_order || chunk->first != receiver->expected[row] || chunk->services & ~receiver->granted[row])
    return 0;
  if (!takes(tally, due, done) || sent.greatest > done || sent.least < done - tally->highest) return 0;
  tally_due(tally, receiver->due + first, count, due, done);
  count_since(tally->since_sent, receiver->sent + first, count, sent, done);
  receiver->expected[row] = (int64_t)((uint64_t)chunk->first + (uint64_t)count); /* a peer's numbers may go round */
  receiver->last_due[row] = receiver->due[first + count - 1];
  return 1;
}

EXPORT int lg_wait(lg_receiver *receiver, int epoll, int timeout_ms) {
  struct epoll_event events[MOST_EVENTS];
  int64_t most = receiver->most_ready < MOST_EVENTS ? receiver->most_ready : MOST_EVENTS;
  receiver->mine_ready = receiver->others_ready = 0;
  int found = epoll_wait(epoll, events, (int)most, timeout_ms);
  if (found < 0) return errno == EINTR ? 0 : errno;
  for (int i = 0; i < found; i++) {
    int32_t descriptor = events[i].data.fd;
    if (events[i].events == EPOLLIN && descriptor < receiver->descriptors && receiver->links[descriptor].ssl)
      receiver->mine[receiver->mine_ready++] = descriptor;
    else
      receiver->others[receiver->others_ready++] = (lg_ready){descriptor, events[i].events};
  }
  return 0;
}

EXPORT int lg_read(lg_receiver *receiver, int64_t *from, int64_t to) {
  for (; *from < to; ++*from) {
    int32_t descriptor = receiver->mine[*from];
    const lg_link *link = &receiver->links[descriptor];
    if (!link->ssl) continue; /* it has ended since, or is Python's */
    if (receiver->holds[link->row] || receiver->chunks == receiver->most_chunks) return LG_FULL;
    if (receiver->taken + RECORD_BYTES / receiver->layout.fixed > receiver->most_taken) return LG_FULL;
    if (receiver->used + RECORD_BYTES > receiver->buffer_bytes) return LG_FULL;
    uint8_t *start = receiver->buffer + receiver->used;
    int size = receiver->ssl_read(link->ssl, start, RECORD_BYTES);
    if (size <= 0) {
      if (receiver->ssl_get_error(link->ssl, size) != WANT_READ) {
        receiver->failure = size;
        return LG_FAILED;
      }
      receiver->err_clear_error();
      continue;
    }
    int64_t came_ns = receiver->heard_ns[link->row] = now_ns(receiver->clock);
    lg_chunk *chunk = &receiver->chunk[receiver->chunks];
    lg_span due = {INT64_MAX, INT64_MIN}, sent = due;
    int64_t count = take(receiver, start, start + size, chunk, &due, &sent);
    receiver->brought += count;
    if (count && !counted(receiver, link->row, chunk, count, came_ns, due, sent)) {
      chunk->row = link->row;
      chunk->count = count;
      chunk->came_ns = came_ns;
      receiver->chunks++;
      receiver->taken += count;
      receiver->holds[link->row] = 1;
    } else if (!count) {
      receiver->rest[receiver->rests++] = (lg_rest){
          descriptor, (int32_t)receiver->used, (int32_t)(receiver->used + size), came_ns};
      receiver->used += size;
    }
  }
  return LG_DONE;
}
