/*
 * What ssi-ahead (source) and ssi-lazy (target) of a move say to each other: memory that is sent while its
 * program still runs. Both ends are the same kernel and machine type (criu demands it), so structures go
 * as they lie in memory.
 *
 *   hello, its tasks each followed by their ranges, then pieces of memory, then `end` with all runs; the
 *   target answers with the byte K. Post-copy: no memory before `end`, all of it after the K; from then on the
 *   target says requests only, the last one ALL_HERE.
 *
 * A page is known by a keyed hash of 128 bits (NH of UMAC: two different pages are equal with a
 * probability of at most 2^-64, whatever is in them). The sender finds by it what changed; the receiver
 * proves by one digest over all pages that it has what the sender saw in the freeze. [RFC 4418]
 */
#ifndef SSI_AHEAD_H
#define SSI_AHEAD_H
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { page_size = 4096, page_words = page_size / 8, tasks_max = 1024, ranges_max = 65536 };
enum { frame_pages = 64 };
#define AHEAD_MAGIC 0x31444145484153ull /* SAHEAD1 */

struct hello {
  uint64_t magic;
  uint32_t tasks, post_copy;
  uint64_t key[page_words];
};
struct task_head {
  uint32_t pid, ranges;
};
struct range {
  uint64_t start, end; /* addresses, whole pages */
};

enum frame_type { FRAME_PAGES = 1, FRAME_END = 2, FRAME_ALL = 3 };
/* FRAME_PAGES: `pages` pages at `start` of the task with this index follow. `hot`: it changed while it was
 * sent, so it is likely wanted first. FRAME_END: a struct end follows, then each task's runs. */
struct frame {
  uint32_t type, task, pages, hot;
  uint64_t start;
};
/* Post-copy, target to source: the program waits for this page; or nothing is lacking any more. */
struct request {
  uint64_t task, page;
};
#define ALL_HERE UINT64_MAX /* as the task */
struct hash {
  uint64_t low, high;
};
struct end {
  struct hash digest;
  uint32_t runs[]; /* for each task */
};

/* What ssi-ahead-in leaves for ssi-lazy in DIR: the pages in ahead.pages, and in ahead.map this head, and for
 * each task a map_task and its runs; first those that changed while they were sent. */
struct map_task {
  int32_t pid;
  uint32_t hot, runs;
};
struct map_run {
  uint64_t start, end, offset; /* addresses; where in ahead.pages */
};

/* Post-copy, DIR/ahead.here: ssi-ahead-in notes what has come, and has the file locked while it lives. Over two
 * FIFOs ssi-lazy asks for a page (ahead.asked: its offset in ahead.pages, a uint64_t), and is woken when one that
 * was asked for has come (ahead.came: a byte). */
enum { wanted_max = 64 };
struct here {
  uint64_t complete;
  uint8_t page[]; /* 1: it is in ahead.pages */
};

static inline struct hash page_hash(const uint64_t *key, const void *page) {
  const uint64_t *p = page;
  unsigned __int128 a = 0, b = 0;
  for (int i = 0; i < page_words; i += 4) {
    a += (unsigned __int128)(p[i] + key[i]) * (p[i + 1] + key[i + 1]);
    b += (unsigned __int128)(p[i + 2] + key[i + 2]) * (p[i + 3] + key[i + 3]);
  }
  a += b;
  return (struct hash){(uint64_t)a, (uint64_t)(a >> 64)};
}

/* A link that is cut without a word breaks within some seconds, also for who only waits: as long as vproc waits
 * for images. A program may stand still for it. [tcp(7)] */
static inline void limit_silence(int connection) {
  int on = 1, second = 1, probes = 5;
  unsigned silent_ms = 5000;
  setsockopt(connection, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(connection, IPPROTO_TCP, TCP_KEEPIDLE, &second, sizeof second);
  setsockopt(connection, IPPROTO_TCP, TCP_KEEPINTVL, &second, sizeof second);
  setsockopt(connection, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  setsockopt(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof silent_ms);
}

/* Order counts: pages that were exchanged are seen. */
static inline void add_to_digest(struct hash *digest, struct hash page) {
  digest->low = (digest->low ^ page.low) * 0x9e3779b97f4a7c15ull + page.high;
  digest->high = (digest->high ^ page.high) * 0xc2b2ae3d27d4eb4full + (digest->low >> 32);
}
#endif
