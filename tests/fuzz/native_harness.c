/* Drives the sources of the native turn with what a fuzzer says: functions of its own in place of OpenSSL's, and memory
 * of exactly as many bytes as the native turn is told of, so that a sanitizer sees each one beyond.
 *
 * Requests come on stdin and are answered on stdout, each as its size (64 bits) and so many bytes: numbers of 64 bits and
 * blobs. The argument is a file of COUNTERS bytes, which count the blocks of the native turn that were entered, modulo
 * 256. What a request may say is in fuzz_native_child.py and the targets that make it; it is trusted.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "native.h"

enum { COUNTERS = 1 << 16, LINKS = 8, WANT_READ = 2 };

/* -- coverage -------------------------------------------------------------------------------------------------------*/

static uint8_t *counters;

/* The compiler has each block of the native turn call it. */
void __sanitizer_cov_trace_pc(void) {
  uintptr_t here = (uintptr_t)__builtin_return_address(0) - (uintptr_t)lg_sources;
  if (counters) counters[here % COUNTERS]++;
}

/* -- requests and answers -------------------------------------------------------------------------------------------*/

static uint8_t *asked, *answered;
static size_t asked_at, asked_bytes, answered_bytes, answered_room;

static void fail(const char *what) {
  fprintf(stderr, "harness: %s\n", what);
  abort();
}

static const uint8_t *blob(int64_t size) {
  if (size < 0 || (size_t)size > asked_bytes - asked_at) fail("a request that is too short");
  const uint8_t *found = asked + asked_at;
  asked_at += (size_t)size;
  return found;
}

static int64_t next(void) {
  int64_t value;
  memcpy(&value, blob(8), 8);
  return value;
}

static double next_double(void) {
  double value;
  memcpy(&value, blob(8), 8);
  return value;
}

static void tell_bytes(const void *from, int64_t size) {
  if (answered_bytes + (size_t)size > answered_room) {
    answered_room = 2 * (answered_bytes + (size_t)size);
    if (!(answered = realloc(answered, answered_room))) fail("no memory");
  }
  if (size) memcpy(answered + answered_bytes, from, (size_t)size);
  answered_bytes += (size_t)size;
}

static void tell(int64_t value) { tell_bytes(&value, 8); }

/* Exactly so many bytes, none of them what it was. */
static void *room(int64_t size) {
  void *found = malloc((size_t)size);
  if (!found) fail("no memory");
  return memset(found, 0xA5, (size_t)size);
}

static int64_t *numbers(int64_t count) {
  int64_t *found = room(8 * count);
  for (int64_t i = 0; i < count; i++) found[i] = next();
  return found;
}

static lg_place next_place(void) {
  lg_place place;
  place.at = (int32_t)next();
  place.bytes = (int8_t)next();
  place.is_little = (int8_t)next();
  place.is_signed = (int8_t)next();
  return place;
}

/* -- time -----------------------------------------------------------------------------------------------------------*/

static int64_t clock_ns, clock_step_ns;

static int64_t tick(void) { return clock_ns += clock_step_ns; }

/* -- receiving ------------------------------------------------------------------------------------------------------*/

/* What SSL_read brings of a link: `size` bytes, or what it says and SSL_get_error after it. */
typedef struct {
  int64_t size, error;
  const uint8_t *bytes;
} item;

typedef struct {
  item *items;
  int64_t count, at;
  int error;
} connection;

static connection *all_peers;
static int cleared;

static int fake_read(void *ssl, void *to, int most) {
  connection *from = ssl; /* of which link: the first of them is all_peers */
  memset(to, 0xEE, (size_t)most); /* it may write anywhere in there */
  item end = {-1, WANT_READ, NULL};
  item *found = from->at < from->count ? &from->items[from->at++] : &end;
  from->error = (int)found->error;
  if (found->size > most) fail("SSL_read may not bring a whole record");
  if (found->size > 0) {
    memcpy(to, found->bytes, (size_t)found->size);
    tell('T');
    tell(from - all_peers);
  }
  return (int)found->size;
}

static int fake_get_error(void *ssl, int result) {
  (void)result;
  return ((connection *)ssl)->error;
}

static void fake_clear_error(void) { cleared++; }

static void tell_held(lg_receiver *receiver) {
  const int64_t *columns[] = {receiver->sequence, receiver->due, receiver->sent, receiver->subservice, receiver->time};
  for (int64_t i = 0, at = 0; i < receiver->chunks; i++) {
    const lg_chunk *chunk = &receiver->chunk[i];
    tell('C');
    tell_bytes(chunk, sizeof *chunk);
    for (int column = 0; column < 5; column++)
      if (columns[column]) tell_bytes(columns[column] + at, 8 * chunk->count);
    if (receiver->tally) /* Python expects what follows */
      receiver->expected[chunk->row] = (int64_t)((uint64_t)receiver->sequence[at] + (uint64_t)chunk->count);
    at += chunk->count;
    if (at > receiver->taken) fail("chunks have more than was taken");
    receiver->holds[chunk->row] = 0;
  }
  receiver->taken = receiver->chunks = 0;
}

static void tell_rests(lg_receiver *receiver) {
  for (int64_t i = 0; i < receiver->rests; i++) {
    const lg_rest *rest = &receiver->rest[i];
    tell('R');
    tell(rest->descriptor);
    tell(rest->came_ns);
    tell(rest->end - rest->start);
    tell_bytes(receiver->buffer + rest->start, rest->end - rest->start);
  }
  receiver->rests = receiver->used = 0;
}

/* All that are ready, as tls_reading.py does it. */
static void read_all(lg_receiver *receiver, int64_t ready) {
  int stop = LG_FULL;
  int64_t from = 0, passes = 0;
  while (stop != LG_DONE) {
    stop = lg_read(receiver, &from, ready);
    if (stop == LG_FAILED) {
      int32_t descriptor = receiver->mine[from++];
      tell('F');
      tell(descriptor);
      tell(receiver->failure);
      receiver->links[descriptor].ssl = NULL;
    } else if (stop == LG_FULL) {
      tell_held(receiver);
    }
    tell_rests(receiver);
    if (++passes > 4 * ready + 4) fail("it does not get on");
  }
}

/* Where stages are counted, with no bucket and no slot to spare; NULL: nowhere. */
static lg_tally *next_tally(void) {
  lg_tally *tally = NULL;
  if (next()) {
    tally = memset(room(sizeof *tally), 0, sizeof *tally);
    tally->low = tally->start = next(), tally->high = next(), tally->shift = next(), tally->slots = next();
    tally->highest = next();
    int64_t buckets = next();
    int64_t **columns[] = {&tally->since_due, &tally->since_sent, &tally->waited, &tally->waits};
    for (int i = 0; i < 4; i++) {
      int64_t bytes = 8 * (i < 2 ? buckets : tally->slots);
      *columns[i] = memset(room(bytes), 0, (size_t)bytes);
    }
  }
  return tally;
}

static void tell_tally(lg_tally *tally, int64_t buckets) {
  if (!tally) return;
  const int64_t *columns[] = {tally->since_due, tally->since_sent, tally->waited, tally->waits};
  for (int i = 0; i < 4; i++) {
    int64_t rows = i < 2 ? buckets : tally->slots, filled = 0;
    for (int64_t k = 0; k < rows; k++) filled += !!columns[i][k];
    tell(filled);
    for (int64_t k = 0; k < rows; k++)
      if (columns[i][k]) tell(k), tell(columns[i][k]);
  }
  tell(tally->count);
  tell(tally->latest);
  free(tally->since_due), free(tally->since_sent), free(tally->waited), free(tally->waits), free(tally);
}

static void receive(int epoll, const int *events) {
  lg_receiver receiver = {.ssl_read = fake_read, .ssl_get_error = fake_get_error};
  receiver.err_clear_error = fake_clear_error;
  receiver.clock = tick;
  clock_ns = next(), clock_step_ns = next();
  lg_layout *layout = &receiver.layout;
  lg_place *places[] = {&layout->length, &layout->count,      &layout->sequence, &layout->due,
                        &layout->sent,   &layout->subservice, &layout->time};
  for (int i = 0; i < 7; i++) *places[i] = next_place();
  layout->length_added = next(), layout->fixed = next();
  layout->reading = next(), layout->most_readings = next();
  layout->constants = (int32_t)next();
  for (int32_t i = 0; i < layout->constants; i++) {
    layout->constant[i].place = next_place();
    layout->constant[i].value = next();
  }
  layout->words = (int32_t)next();
  for (int32_t i = 0; i < layout->words; i++) layout->alike[i].at = next(), layout->alike[i].bits = (uint64_t)next();
  int64_t buckets = next();
  receiver.tally = next_tally();
  receiver.to_unix = next();
  receiver.expected = numbers(LINKS), receiver.granted = numbers(LINKS);
  receiver.last_due = memset(room(8 * LINKS), 0, 8 * LINKS);
  /* lies: so many more than there is room for, to see that a sanitizer sees it. */
  int64_t lies = next();
  receiver.buffer_bytes = next(), receiver.most_taken = next();
  receiver.most_chunks = next(), receiver.most_ready = next();
  receiver.descriptors = next(), receiver.sessions = LINKS;
  receiver.buffer = room(receiver.buffer_bytes);
  int64_t **columns[] = {&receiver.sequence, &receiver.due, &receiver.sent, &receiver.subservice, &receiver.time};
  for (int i = 0; i < 5; i++)
    *columns[i] = places[i + 2]->bytes ? room(8 * receiver.most_taken) : NULL;
  receiver.most_taken += lies;
  receiver.chunk = room(receiver.most_chunks * (int64_t)sizeof *receiver.chunk);
  receiver.mine = room(receiver.most_ready * (int64_t)sizeof *receiver.mine);
  receiver.others = room(receiver.most_ready * (int64_t)sizeof *receiver.others);
  receiver.rest = room(receiver.most_ready * (int64_t)sizeof *receiver.rest);
  receiver.heard_ns = room(8 * receiver.sessions);
  receiver.holds = memset(room(receiver.sessions), 0, (size_t)receiver.sessions);
  receiver.links = room(receiver.descriptors * (int64_t)sizeof *receiver.links);
  connection peers[LINKS];
  all_peers = peers;
  for (int i = 0; i < LINKS; i++) {
    int64_t is_ours = next();
    peers[i] = (connection){.count = next()};
    peers[i].items = room(peers[i].count * (int64_t)sizeof(item));
    for (int64_t k = 0; k < peers[i].count; k++) {
      item *each = &peers[i].items[k];
      each->size = next(), each->error = next();
      each->bytes = each->size > 0 ? blob(each->size) : NULL;
    }
    receiver.heard_ns[i] = 0;
    if (i < receiver.descriptors) receiver.links[i] = (lg_link){is_ours ? &peers[i] : NULL, LINKS - 1 - i};
  }
  for (int64_t turns = next(); turns > 0; turns--) {
    for (int i = 0; i < LINKS; i++) { /* an eventfd is ready for both, if it is watched for */
      struct epoll_event event = {.events = (uint32_t)next(), .data.fd = i};
      if (epoll_ctl(epoll, EPOLL_CTL_MOD, events[i], &event)) fail("epoll_ctl");
    }
    int64_t gone = next(), fetches = next();
    if (lg_wait(&receiver, epoll, 0)) fail("epoll_wait");
    tell('W');
    tell(receiver.mine_ready);
    for (int64_t i = 0; i < receiver.mine_ready; i++) tell(receiver.mine[i]);
    tell(receiver.others_ready);
    for (int64_t i = 0; i < receiver.others_ready; i++) {
      tell(receiver.others[i].descriptor);
      tell(receiver.others[i].events);
    }
    for (int i = 0; i < LINKS && i < receiver.descriptors; i++)
      if (gone >> i & 1) receiver.links[i].ssl = NULL;
    read_all(&receiver, receiver.mine_ready);
    if (fetches) tell_held(&receiver);
  }
  tell_held(&receiver);
  tell('E');
  for (int i = 0; i < LINKS; i++) {
    tell(peers[i].at);
    tell(receiver.heard_ns[LINKS - 1 - i]);
    if (receiver.holds[i]) fail("a row is held that is in no chunk");
    free(peers[i].items);
  }
  tell(receiver.brought);
  tell_bytes(receiver.expected, 8 * LINKS), tell_bytes(receiver.last_due, 8 * LINKS);
  tell_tally(receiver.tally, buckets);
  free(receiver.expected), free(receiver.granted), free(receiver.last_due);
  for (int i = 0; i < 5; i++) free(*columns[i]);
  free(receiver.buffer), free(receiver.chunk), free(receiver.mine), free(receiver.others), free(receiver.rest);
  free(receiver.heard_ns), free(receiver.holds), free(receiver.links);
}

/* -- sending --------------------------------------------------------------------------------------------------------*/

static const int64_t *results;
static int64_t results_left;

static int fake_write(void *ssl, const void *from, int size) {
  int64_t result = results_left ? (results_left--, *results++) : 1;
  tell('W');
  tell((int64_t)(intptr_t)ssl - 1);
  tell(result);
  tell(size);
  tell_bytes(from, size);
  return result > 0 ? size : (int)result;
}

static void tell_column(const int64_t *column, int64_t count) {
  tell(count);
  tell_bytes(column, 8 * count);
}

/* A call, and what tls_writing.py does about what comes of it. */
static void visit(lg_sender *sender) {
  int64_t count = next(), *position = numbers(count);
  int64_t slots = next(), expired = next(), until_ns = next(), from = 0, passes = 0;
  int stop = LG_FULL;
  while (stop == LG_FULL || stop == LG_FAILED) {
    stop = lg_send(sender, position, &from, count, slots, expired, until_ns);
    tell('S');
    tell(stop);
    tell(from);
    if (stop == LG_FAILED) {
      int64_t row = sender->rings[position[from++]].row;
      sender->ssl[row] = NULL;
      if (sender->failure < 0) { /* it waits for room; a tunnel that has ended counts nothing */
        sender->behind[row] = 1;
        sender->done[row] += sender->failed_notifications;
        sender->sent_count[row] += sender->failed_notifications;
        sender->noted += sender->failed_notifications;
        sender->notifications += sender->failed_notifications;
        sender->bytes += sender->failed_bytes;
        sender->writes++;
      }
    }
    tell_column(sender->due_ns, sender->noted);
    tell_column(sender->sent_ns, sender->noted);
    tell(sender->notifications);
    tell(sender->bytes);
    tell(sender->writes);
    sender->noted = sender->notifications = sender->bytes = sender->writes = 0;
    if (++passes > 4096) fail("it does not get on");
  }
  tell('V');
  tell_column(sender->left, sender->lefts);
  tell_column(sender->again, sender->agains);
  sender->lefts = sender->agains = 0;
  free(position);
}

static void send_(void) {
  lg_sender sender = {.ssl_write = fake_write, .clock = tick};
  clock_ns = next(), clock_step_ns = next();
  sender.sequence = next_place(), sender.due = next_place(), sender.sent = next_place();
  sender.stage_count = next();
  sender.stages = room(sender.stage_count * (int64_t)sizeof *sender.stages);
  for (int64_t i = 0; i < sender.stage_count; i++) {
    lg_stage *stage = &sender.stages[i];
    stage->base = next_double(), stage->initial = next_double();
    stage->quarter = next_double(), stage->pace = next_double();
    stage->start = next();
  }
  sender.members = next(), sender.burst = next(), sender.epoch = next(), sender.to_unix = next();
  sender.positions = next();
  sender.rings = room(sender.positions * (int64_t)sizeof *sender.rings);
  for (int64_t i = 0; i < sender.positions; i++) {
    lg_ring *ring = &sender.rings[i];
    int64_t size = next();
    ring->buffer = memcpy(room(size), blob(size), (size_t)size);
    ring->first = next(), ring->slots = next(), ring->frames = next();
    ring->member = next(), ring->row = next();
  }
  int64_t frames = next();
  sender.offsets = numbers(frames), sender.sizes = numbers(frames);
  int64_t rows = next();
  sender.ssl = room(8 * rows);
  for (int64_t i = 0; i < rows; i++) sender.ssl[i] = NULL;
  sender.done = numbers(rows), sender.sent_count = numbers(rows);
  sender.behind = numbers(rows), sender.end = numbers(rows);
  int64_t buckets = next();
  sender.tally = next_tally();
  sender.most_noted = next();
  sender.due_ns = room(8 * sender.most_noted), sender.sent_ns = room(8 * sender.most_noted);
  sender.most_noted += next(); /* lies, as in `receive` */
  sender.left = room(8 * sender.positions), sender.again = room(8 * sender.positions);
  int64_t *script = numbers(results_left = next());
  results = script;
  for (int64_t calls = next(); calls > 0; calls--) {
    int64_t allowed = next(); /* a bit for each row: from now on it may be written to */
    for (int64_t i = 0; i < rows; i++)
      if (allowed >> i & 1) sender.ssl[i] = (void *)(intptr_t)(i + 1);
    visit(&sender);
  }
  tell('E');
  const int64_t *columns[] = {sender.done, sender.sent_count, sender.behind};
  for (int i = 0; i < 3; i++) tell_column(columns[i], rows);
  tell_tally(sender.tally, buckets);
  for (int64_t i = 0; i < sender.positions; i++) free(sender.rings[i].buffer);
  free(sender.rings), free(sender.stages), free(sender.offsets), free(sender.sizes), free(sender.ssl);
  free(sender.done), free(sender.sent_count), free(sender.behind), free(sender.end);
  free(sender.due_ns), free(sender.sent_ns), free(sender.left), free(sender.again), free(script);
}

/* -- counting -------------------------------------------------------------------------------------------------------*/

static void count(void) {
  int64_t highest = next(), buckets = next(), length = next();
  int64_t *values = numbers(length), *counts = memset(room(8 * buckets), 0, 8 * (size_t)buckets);
  tell(lg_count(counts, values, length, highest));
  for (int64_t i = 0; i < buckets; i++)
    if (counts[i]) tell(i), tell(counts[i]);
  free(values), free(counts);
}

/* -------------------------------------------------------------------------------------------------------------------*/

static int is_read(void *to, size_t size) { return fread(to, 1, size, stdin) == size; }

int main(int count_of_arguments, char **arguments) {
  int file = count_of_arguments > 1 ? open(arguments[1], O_RDWR) : -1;
  void *shared = file < 0 ? MAP_FAILED : mmap(NULL, COUNTERS, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (shared == MAP_FAILED) fail("expected a file of counters");
  counters = shared;
  int epoll = epoll_create1(0), events[LINKS];
  for (int i = 0; i < LINKS; i++) {
    struct epoll_event nothing = {0};
    if ((events[i] = eventfd(1, 0)) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, events[i], &nothing)) fail("eventfd");
  }
  uint64_t size;
  while (is_read(&size, 8)) {
    if (!(asked = malloc(size)) || !is_read(asked, size)) fail("a request that is too short");
    asked_bytes = size, asked_at = answered_bytes = 0;
    switch (next()) {
    case 'r': receive(epoll, events); break;
    case 's': send_(); break;
    case 'c': count(); break;
    default: fail("an unknown request");
    }
    if (asked_at != asked_bytes) fail("a request that is too long");
    free(asked);
    uint64_t told = answered_bytes;
    if (fwrite(&told, 8, 1, stdout) != 1 || fwrite(answered, 1, told, stdout) != told || fflush(stdout)) return 1;
  }
  return 0;
}
