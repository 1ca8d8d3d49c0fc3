/* Waiting and receiving: records are read, and notifications taken out of them, without the interpreter. */
#include "common.h"

#include <errno.h>
#include <sys/epoll.h>

enum { MOST_EVENTS = 1024, WANT_READ = 2 };

EXPORT const char *lg_sources(void) { return LG_SOURCES; }

/* As numpy makes int64 of it: a u64 keeps its bits. */
static inline int64_t number(const uint8_t *frame, lg_place place) {
  const uint8_t *at = frame + place.at;
  switch (place.bytes) {
  case 8: {
    uint64_t value;
    memcpy(&value, at, 8);
    return (int64_t)(place.is_little ? value : __builtin_bswap64(value));
  }
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

/* The columns of what lies in [frame, end), if that is whole notifications and nothing else, and what the chunk says of
 * them; returns how many, or 0. */
static int64_t take(const lg_receiver *receiver, const uint8_t *frame, const uint8_t *end, lg_chunk *chunk) {
  const lg_layout *layout = &receiver->layout;
  int64_t taken = receiver->taken, sequence = 0, service = 0;
  chunk->in_order = 1;
  chunk->services = 0;
  while (frame < end) {
    if (end - frame < layout->fixed || taken == receiver->most_taken) return 0;
    int64_t size = size_of(layout, frame, end - frame);
    if (!size) return 0;
    if (layout->sequence.bytes) {
      int64_t before = sequence;
      receiver->sequence[taken] = sequence = number(frame, layout->sequence);
      if (taken == receiver->taken)
        chunk->first = sequence;
      else
        chunk->in_order &= (uint64_t)sequence == (uint64_t)before + 1;
    }
    if (layout->due.bytes) receiver->due[taken] = number(frame, layout->due);
    if (layout->sent.bytes) receiver->sent[taken] = number(frame, layout->sent);
    if (layout->subservice.bytes) receiver->subservice[taken] = service = number(frame, layout->subservice);
    chunk->services |= service >= 0 && service < 63 ? INT64_C(1) << service : -1;
    if (layout->time.bytes) receiver->time[taken] = number(frame, layout->time);
    taken++;
    frame += size;
  }
  return taken - receiver->taken;
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
    int64_t count = take(receiver, start, start + size, chunk);
    if (count) {
      chunk->row = link->row;
      chunk->count = count;
      chunk->came_ns = came_ns;
      receiver->chunks++;
      receiver->taken += count;
      receiver->holds[link->row] = 1;
    } else {
      receiver->rest[receiver->rests++] = (lg_rest){
          descriptor, (int32_t)receiver->used, (int32_t)(receiver->used + size), came_ns};
      receiver->used += size;
    }
  }
  return LG_DONE;
}
