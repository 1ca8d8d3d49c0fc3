/* What Python and C both know of the native turn. Read by the compiler and, as it stands, by cffi: declarations alone.
 *
 * All memory is Python's, and lives longer than what points to it. A function touches what its argument points to, and
 * the OpenSSL connections in it; none keeps anything for itself. Times are ns; "descriptor" is a socket's number.
 */

/* Where a number lies in a frame. bytes: 1, 2, 4 or 8; 0: the layout does not carry it. */
typedef struct {
  int32_t at;
  int8_t bytes, is_little, is_signed;
} lg_place;

/* A number that never differs. */
typedef struct {
  lg_place place;
  uint64_t value;
} lg_constant;

/* A measurement notification whose parts lie in fixed places: `fixed` bytes, trailer included, and its readings.
 * length_added: to what the length field says, for the size of the frame. */
typedef struct {
  lg_place length, count, sequence, due, sent, subservice, time;
  int64_t length_added, fixed, reading, most_readings;
  int32_t constants;
  lg_constant constant[16];
} lg_layout;

/* A connection that is read here; ssl is NULL where Python reads it. row: of its session, below `sessions`. */
typedef struct {
  void *ssl;
  int32_t row;
} lg_link;

/* What a descriptor is ready for, as epoll says. */
typedef struct {
  int32_t descriptor;
  uint32_t events;
} lg_ready;

/* What was read of a connection and is for Python: view[start:end] of the buffer, and when it came. */
typedef struct {
  int32_t descriptor, start, end;
  int64_t came_ns;
} lg_rest;

/* Notifications that were taken of one read: of which session, how many, when they came. */
typedef struct {
  int64_t row, count, came_ns;
} lg_chunk;

/* The receiving side of a worker. */
typedef struct {
  /* OpenSSL's functions of these names; `clock`: what time it is, NULL: CLOCK_MONOTONIC. */
  int (*ssl_read)(void *, void *, int);
  int (*ssl_get_error)(void *, int);
  void (*err_clear_error)(void);
  int64_t (*clock)(void);
  lg_layout layout;
  /* links[descriptor]; heard_ns[row]: when that session brought something last; holds[row]: it is in `chunk`. */
  lg_link *links;
  int64_t descriptors;
  int64_t *heard_ns;
  uint8_t *holds;
  int64_t sessions;
  /* Where records are read to; what is in front of `used` is in `rest`. */
  uint8_t *buffer;
  int64_t buffer_bytes, used;
  /* The columns of what was taken, `taken` long; those that the layout does not carry are never written. */
  int64_t *sequence, *due, *sent, *subservice, *time;
  int64_t most_taken, taken;
  /* One for each read that was taken, in the order of the columns. */
  lg_chunk *chunk;
  int64_t most_chunks, chunks;
  /* What `lg_wait` found: links that are read here, by descriptor, and what is for Python. */
  int32_t *mine;
  lg_ready *others;
  int64_t most_ready, mine_ready, others_ready;
  lg_rest *rest;
  int64_t rests;
  /* What SSL_read said of the connection at which `lg_read` stopped. */
  int32_t failure;
} lg_receiver;

/* Why `lg_read` stopped: all were read; a connection has failed or ended (OpenSSL still knows how, errno as well); what
 * was taken has to be fetched first; what is for Python has to be. */
enum { LG_DONE, LG_FAILED, LG_FULL };

/* Of which sources this library was made. */
const char *lg_sources(void);

/* Wait for at most timeout_ms until something is ready. Returns 0, or errno where epoll fails. Touches `mine`, `others`
 * and their counts. */
int lg_wait(lg_receiver *receiver, int epoll, int timeout_ms);

/* Read one record of each of mine[*from] to mine[to - 1], and take what is nothing but notifications. Returns LG_*;
 * *from is the first that was not read. Touches the connections, `buffer` and what counts in it, columns, chunks, rests,
 * heard_ns, holds. */
int lg_read(lg_receiver *receiver, int64_t *from, int64_t to);
