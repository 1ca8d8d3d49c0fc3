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
  int64_t value;
} lg_constant;

/* Eight bytes of a frame, and which bits of them, as they lie there. */
typedef struct {
  int64_t at;
  uint64_t bits;
} lg_word;

/* A measurement notification whose parts lie in fixed places: `fixed` bytes, trailer included, and its readings.
 * length_added: to what the length field says, for the size of the frame. alike: one that does not differ from the one
 * before it in these is as large, has the same constants, and is about the same subservice. */
typedef struct {
  lg_place length, count, sequence, due, sent, subservice, time;
  int64_t length_added, fixed, reading, most_readings;
  int32_t constants, words;
  lg_constant constant[16];
  lg_word alike[20];
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

/* Notifications that were taken of one read: of which session, how many, when they came; the number of the first, and
 * whether the others' follow it; a bit for each subservice, all bits for one above 62. */
typedef struct {
  int64_t row, count, came_ns, first, in_order, services;
} lg_chunk;

/* What was due in one stage, counted as it is done (measure/recorder.py): due times (ns since the epoch) from `low` on and
 * before `high` belong to it. */
typedef struct {
  int64_t low, high;
  /* HdrHistogram buckets, for durations of 0 to `highest`: since it was due; since it was sent, where that is asked for. */
  int64_t *since_due, *since_sent;
  int64_t highest;
  /* How long it waited, by slots of due times, 2^shift ns each from `start` on: how many, and how long together. */
  int64_t *waited, *waits;
  int64_t start, shift, slots;
  /* So far: how many, and when the latest of them was due. */
  int64_t count, latest;
} lg_tally;

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
  /* Where notifications are counted at once that are as expected: of each session, by row, the number of the next one,
   * when the last one was due, and what it has subscribed to. Times of notifications are those of the clock plus
   * to_unix. NULL: all are taken into columns. `brought`: how many came, so far. */
  lg_tally *tally;
  int64_t *expected, *last_due, *granted;
  int64_t to_unix, brought;
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

/* Read one record of each of mine[*from] to mine[to - 1], and take what is nothing but notifications: those of a record
 * that are all as the tally expects them are counted there, others go into columns. Returns LG_*; *from is the first that
 * was not read. Touches the connections, `buffer` and what counts in it, the tally, `expected` and `last_due` of their
 * rows, columns, chunks, rests, heard_ns, holds. */
int lg_read(lg_receiver *receiver, int64_t *from, int64_t to);

/* A stage of the schedule: slots from `base` on are due from `start` (since slot 0's) on; see scenario/schedule.py. */
typedef struct {
  double base, initial, quarter, pace;
  int64_t start;
} lg_stage;

/* The frames of a WLC: `frames` of them from `first` on in the sender's offsets and sizes, in `buffer`; `slots` are its
 * notifications, and the first of them come again behind the last. row: of its only subscriber; -1: Python sends. */
typedef struct {
  uint8_t *buffer;
  int64_t first, slots, frames, member, row;
} lg_ring;

/* The sending side of a worker. */
typedef struct {
  /* OpenSSL's function of this name; `clock` as of lg_receiver. */
  int (*ssl_write)(void *, const void *, int);
  int64_t (*clock)(void);
  lg_place sequence, due, sent;
  /* The schedule: slot s is member s % members' turn s / members, of `burst` notifications, and due at `epoch` plus what
   * its stage says. Times of notifications are those of the clock plus to_unix. */
  lg_stage *stages;
  int64_t stage_count, members, burst, epoch, to_unix;
  /* By position of a WLC. */
  lg_ring *rings;
  int64_t positions;
  int64_t *offsets, *sizes;
  /* By row of a subscriber (session/ledger.py); ssl is NULL of those who cannot be written to. */
  void **ssl;
  int64_t *done, *sent_count, *behind, *end;
  /* Where it is counted how late what was sent went out, as far as it belongs there; NULL: nowhere. */
  lg_tally *tally;
  /* Otherwise: when it was due and went out, a row for each, `noted` long; room for a visit's 4 writes of 512 at least. */
  int64_t *due_ns, *sent_ns;
  int64_t most_noted, noted;
  /* Positions that Python has to visit, and those that are owed more. Each has room for `positions`. */
  int64_t *left, *again;
  int64_t lefts, agains;
  /* So far. */
  int64_t notifications, bytes, writes;
  /* What SSL_write said where `lg_send` stopped; what it was given; how many notifications that is. */
  int32_t failure;
  uint8_t *failed;
  int64_t failed_bytes, failed_notifications;
} lg_sender;

/* Why `lg_send` stopped, beside LG_DONE, LG_FAILED and LG_FULL: the time is over; somebody is owed more than a burst, and
 * how much of that has waited too long is not known. */
enum { LG_LATE = 3, LG_ASKS = 4 };

/* Send what the WLCs at position[*from] to position[to - 1] owe their subscribers when `slots` slots of the schedule are
 * due, those before `expired` having waited too long (-1: not known), until the clock says until_ns. Returns LG_*; *from is the first
 * that was not visited, or whose write has failed: what that was given is not counted, and may be half sent. Touches the
 * connections, frames, `done`, `sent_count` and `behind` of their rows, the tally, and what `lg_sender` collects. */
int lg_send(lg_sender *sender, const int64_t *position, int64_t *from, int64_t to, int64_t slots, int64_t expired,
            int64_t until_ns);

/* Count each of these values (ns) in its HdrHistogram bucket (measure/histogram.py), those below 0 and above `highest` in
 * the first and the last. Returns how many these were. Touches counts[bucket] of values up to `highest`. */
int64_t lg_count(int64_t *counts, const int64_t *values, int64_t length, int64_t highest);
