/* What a C programmer would write instead of us: both ends of mutual TLS 1.2 sessions in one process and one thread. In
 * each round `each` links in turn are sent one record of `burst` notifications, stamped; then all is read, checked and
 * counted by bucket. Prints the CPU time of either side for a notification, in us.
 *
 *   lockstep PEM SUITE LINKS EACH ROUNDS BURST
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The reference notification with four readings (docs/protocol.md). */
enum { FRAME = 100, SEQUENCE = 12, DUE = 20, SENT = 28, SUBSERVICE = 42, READINGS = 43, NOTIFY = 16, MAGIC = 78 };
enum { WARM_UP = 20, MOST_EVENTS = 1024, BUCKETS = 40000, RECORD = 16384 };

typedef struct {
  SSL *ssl;
  int socket;
  uint64_t sequence;
} end_t;

static uint64_t latency[BUCKETS], service[BUCKETS], received, wrong;

static void fail(const char *what) {
  perror(what);
  ERR_print_errors_fp(stderr);
  exit(1);
}

static uint64_t clock_ns(clockid_t which) {
  struct timespec now;
  clock_gettime(which, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int take_any(int ok, X509_STORE_CTX *store) {
  (void)ok;
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

static SSL_CTX *context(const SSL_METHOD *method, const char *pem, const char *suite) {
  SSL_CTX *made = SSL_CTX_new(method);
  SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(made, TLS1_2_VERSION);
  if (!SSL_CTX_set_cipher_list(made, suite)) fail(suite);
  if (SSL_CTX_use_certificate_file(made, pem, SSL_FILETYPE_PEM) != 1) fail(pem);
  if (SSL_CTX_use_PrivateKey_file(made, pem, SSL_FILETYPE_PEM) != 1) fail(pem);
  SSL_CTX_set_verify(made, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, take_any);
  SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
  return made;
}

static end_t end_of(SSL_CTX *made, int descriptor, int serves) {
  int one = 1;
  fcntl(descriptor, F_SETFL, O_NONBLOCK);
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  end_t end = {SSL_new(made), descriptor, 0};
  SSL_set_fd(end.ssl, descriptor);
  if (serves)
    SSL_set_accept_state(end.ssl);
  else
    SSL_set_connect_state(end.ssl);
  return end;
}

static void shake_hands(end_t *one, end_t *other) {
  int done[2] = {0, 0};
  for (int tries = 0; tries < 100000 && !(done[0] && done[1]); tries++) {
    end_t *end = tries & 1 ? other : one;
    if (!done[tries & 1]) done[tries & 1] = SSL_do_handshake(end->ssl) == 1;
    ERR_clear_error();
  }
  if (!done[0] || !done[1]) fail("handshake");
}

static void put64(uint8_t *at, uint64_t value) {
  value = htobe64(value);
  memcpy(at, &value, 8);
}

static uint64_t get64(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, 8);
  return be64toh(value);
}

static void count(uint64_t *buckets, int64_t value) {
  if (value < 0) value = 0;
  int coarse = value < 2048 ? 0 : 63 - __builtin_clzll((uint64_t)value) - 10;
  buckets[((uint64_t)coarse << 10) + ((uint64_t)value >> coarse)]++;
}

static void make_frame(uint8_t *frame) {
  memset(frame, 0, FRAME);
  frame[0] = MAGIC;
  frame[3] = NOTIFY;
  frame[7] = FRAME;
  frame[READINGS] = 4;
}

static void take(end_t *end, const uint8_t *frame, int size, uint64_t now) {
  for (const uint8_t *last = frame + size; frame < last; frame += FRAME) {
    uint32_t length;
    memcpy(&length, frame + 4, 4);
    if (last - frame < FRAME || frame[0] != MAGIC || frame[1] || frame[2] || frame[3] != NOTIFY || be32toh(length) != FRAME ||
        frame[READINGS] != 4 || frame[SUBSERVICE] != 0 || get64(frame + SEQUENCE) != end->sequence++) {
      wrong++;
      return;
    }
    count(latency, (int64_t)(now - get64(frame + DUE)));
    count(service, (int64_t)(now - get64(frame + SENT)));
    received++;
  }
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "lockstep PEM SUITE LINKS EACH ROUNDS BURST\n");
    return 2;
  }
  int links = atoi(argv[3]), each = atoi(argv[4]), rounds = atoi(argv[5]), burst = atoi(argv[6]);
  struct rlimit descriptors;
  getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  setrlimit(RLIMIT_NOFILE, &descriptors);
  SSL_CTX *serving = context(TLS_server_method(), argv[1], argv[2]);
  SSL_CTX *dialing = context(TLS_client_method(), argv[1], argv[2]);
  end_t *wlcs = calloc((size_t)links, sizeof *wlcs), *mses = calloc((size_t)links, sizeof *mses);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
  if (bind(listener, (void *)&address, size) || listen(listener, 64)) fail("listen");
  getsockname(listener, (void *)&address, &size);
  for (int i = 0; i < links; i++) {
    int dialed = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(dialed, (void *)&address, sizeof address)) fail("connect");
    wlcs[i] = end_of(serving, accept(listener, NULL, NULL), 1);
    mses[i] = end_of(dialing, dialed, 0);
    shake_hands(&mses[i], &wlcs[i]);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, dialed, &event)) fail("epoll");
  }
  static uint8_t record[RECORD], came[RECORD];
  for (int i = 0; i < burst; i++) make_frame(record + i * FRAME);
  struct epoll_event events[MOST_EVENTS];
  uint64_t sent = 0, sending = 0, receiving = 0;
  int next = 0;
  for (int round = -WARM_UP; round < rounds; round++) {
    uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < each; i++) {
      end_t *wlc = &wlcs[next];
      uint64_t now = clock_ns(CLOCK_MONOTONIC);
      for (uint8_t *frame = record; frame < record + burst * FRAME; frame += FRAME) {
        put64(frame + SEQUENCE, wlc->sequence++);
        put64(frame + DUE, now);
        put64(frame + SENT, now);
      }
      if (SSL_write(wlc->ssl, record, burst * FRAME) <= 0) fail("SSL_write");
      next = (next + 1) % links;
    }
    sent += (uint64_t)each * (uint64_t)burst;
    uint64_t between = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (received < sent && !wrong) {
      int ready = epoll_wait(epoll, events, MOST_EVENTS, 1000);
      for (int i = 0; i < ready; i++) {
        end_t *mse = &mses[events[i].data.u32];
        int got = SSL_read(mse->ssl, came, RECORD);
        if (got > 0)
          take(mse, came, got, clock_ns(CLOCK_MONOTONIC));
        else
          ERR_clear_error();
      }
    }
    if (round >= 0) {
      sending += between - start;
      receiving += clock_ns(CLOCK_THREAD_CPUTIME_ID) - between;
    }
  }
  if (wrong) fail("a notification is wrong");
  double all = (double)rounds * each * burst * 1000;
  printf("{\"send_us\": %.4f, \"receive_us\": %.4f, \"notifications\": %.0f}\n", (double)sending / all, (double)receiving / all,
         all / 1000);
  return 0;
}
