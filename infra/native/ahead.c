/*
 * ssi-ahead [--post-copy] DIR PID...: sends the memory of a tree that is about to be moved while it still runs.
 *
 * The connection is descriptor 3. What is sent are the large private anonymous mappings (heaps, arenas):
 * first all of their pages, then, in rounds, those that changed meanwhile, found by hash, for the kernel need
 * not track dirty pages. Their ranges go to DIR/ahead.ranges, where criu-shim.so reads what criu leaves out of
 * its dump. Says `ready BYTES` on standard output when another round would gain little. criu makes
 * DIR/files.img when it has stopped the whole tree: then the last round is sent, the runs of all pages and
 * their digest, and when the target has checked that, `sent BYTES` is said. Anything else that goes wrong:
 * a line on standard error, exit 1. An end of standard input ends it.
 *
 * With --post-copy nothing goes ahead: the runs are sent in the freeze, the pages after it, from the stopped
 * tree: what the target asks for, and from the first line on standard input on all; then `all BYTES` is said.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ahead.h"
#include "pagemap.h"

enum { connection = 3, rounds_max = 5 };
/* Smaller mappings are left to criu: they cost a page of its dump each, not more. */
#define RANGE_MIN (1024 * 1024ull)
/* A round that found less than this was the last before the freeze. */
#define ROUND_MIN (4 * 1024 * 1024ull)

struct task {
  int pid, pagemap;
  unsigned ranges, ranges_room, runs, runs_room;
  struct range *range, *run;
  struct hash **known; /* of each range, by page; 0: not sent yet */
};
static struct task tasks[tasks_max];
static unsigned task_count;
static struct hello hello = {.magic = AHEAD_MAGIC};
static struct hash digest;
static uint64_t sent_bytes;
static char buffer[frame_pages * page_size] __attribute__((aligned(4096)));

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  exit(1);
}

static void send_all(struct iovec *part, int parts) {
  while (parts > 0) {
    ssize_t n = writev(connection, part, parts);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) die("the connection to the target broke: %s", strerror(errno));
    for (; parts > 0 && (size_t)n >= part->iov_len; part++, parts--) n -= (ssize_t)part->iov_len;
    if (parts > 0) part->iov_base = (char *)part->iov_base + n, part->iov_len -= (size_t)n;
  }
}

static void add_range(struct range **list, unsigned *count, unsigned *room, struct range range) {
  if (*count == *room) {
    *room = *room ? *room * 2 : 64;
    *list = realloc(*list, *room * sizeof **list);
    if (!*list) die("no memory");
  }
  (*list)[(*count)++] = range;
}

/* A line of /proc/PID/maps. `lazy`: private and anonymous, no code: criu poisons code while it looks. */
struct mapping {
  struct range range;
  int lazy, writable;
};
static int read_mapping(FILE *maps, struct mapping *m) {
  char *line = NULL, permissions[5], name[16];
  size_t room = 0;
  unsigned long inode;
  int found = 0;
  if (getline(&line, &room, maps) > 0) {
    *name = 0;
    found = sscanf(line, "%lx-%lx %4s %*x %*s %lu %15s", &m->range.start, &m->range.end, permissions,
                   &inode, name) >= 4;
    /* Shared and file mappings have an inode. [vdso] and [stack] are the kernel's. */
    int plain = !*name || strcmp(name, "[heap]") == 0 || strncmp(name, "[anon:", 6) == 0;
    m->lazy = permissions[3] == 'p' && permissions[2] != 'x' && inode == 0 && plain;
    m->writable = permissions[0] == 'r' && permissions[1] == 'w';
  }
  free(line);
  return found;
}
/* NULL: it has ended. */
static FILE *open_maps(const struct task *t) {
  char path[40];
  snprintf(path, sizeof path, "/proc/%d/maps", t->pid);
  return fopen(path, "re");
}

/* Locked memory is restored by criu only. [criu: vma_entry_can_be_lazy] */
static int has_locked(const struct task *t) {
  char path[40], line[128];
  unsigned long locked = 0;
  snprintf(path, sizeof path, "/proc/%d/status", t->pid);
  FILE *status = fopen(path, "re");
  while (status && fgets(line, sizeof line, status))
    if (sscanf(line, "VmLck: %lu", &locked) == 1) break;
  if (status) fclose(status);
  return locked > 0;
}

/* Of the program that it executes now. */
static void open_pagemap(struct task *t) {
  char path[40];
  if (t->pagemap > 0) close(t->pagemap);
  snprintf(path, sizeof path, "/proc/%d/pagemap", t->pid);
  t->pagemap = open(path, O_RDONLY | O_CLOEXEC);
}

static void choose_ranges(struct task *t) {
  open_pagemap(t);
  if (has_locked(t)) return;
  FILE *maps = open_maps(t);
  if (!maps) return;
  for (struct mapping m; read_mapping(maps, &m);)
    if (m.lazy && m.writable && m.range.end - m.range.start >= RANGE_MIN && t->ranges < ranges_max)
      add_range(&t->range, &t->ranges, &t->ranges_room, m.range);
  fclose(maps);
  t->known = calloc(t->ranges + 1, sizeof *t->known);
  for (unsigned r = 0; r < t->ranges; r++)
    t->known[r] = calloc((t->range[r].end - t->range[r].start) / page_size, sizeof **t->known);
}

/* In the freeze: what lies in the ranges now is still of the kind that criu restores lazily. */
static void check_ranges(const struct task *t) {
  if (t->ranges == 0) return;
  if (has_locked(t)) die("changed: %d has locked memory meanwhile", t->pid);
  FILE *maps = open_maps(t);
  if (!maps) return;
  unsigned r = 0;
  for (struct mapping m; read_mapping(maps, &m);) {
    while (r < t->ranges && t->range[r].end <= m.range.start) r++;
    if (r < t->ranges && t->range[r].start < m.range.end && !m.lazy)
      die("changed: %d has mapped something else at %lx", t->pid, m.range.start);
  }
  fclose(maps);
}

static void write_ranges(const char *dir) {
  char path[4096];
  snprintf(path, sizeof path, "%s/ahead.ranges", dir);
  FILE *file = fopen(path, "we");
  if (!file) die("%s: %s", path, strerror(errno));
  for (unsigned i = 0; i < task_count; i++)
    for (unsigned r = 0; r < tasks[i].ranges; r++)
      fprintf(file, "%d %lx %lx\n", tasks[i].pid, tasks[i].range[r].start, tasks[i].range[r].end);
  if (fclose(file) != 0) die("%s: %s", path, strerror(errno));
}

static void say_hello(void) {
  hello.tasks = task_count;
  for (size_t done = 0; done < sizeof hello.key;) {
    ssize_t n = getrandom((char *)hello.key + done, sizeof hello.key - done, 0);
    if (n > 0) done += (size_t)n;
  }
  send_all(&(struct iovec){&hello, sizeof hello}, 1);
  for (unsigned i = 0; i < task_count; i++) {
    struct task_head head = {(uint32_t)tasks[i].pid, tasks[i].ranges};
    struct iovec parts[] = {{&head, sizeof head}, {tasks[i].range, head.ranges * sizeof(struct range)}};
    send_all(parts, head.ranges ? 2 : 1);
  }
}

static void send_pages(unsigned task, uint64_t start, unsigned first, unsigned pages, int hot) {
  struct frame frame = {FRAME_PAGES, task, pages, (uint32_t)hot, start + (uint64_t)first * page_size};
  struct iovec parts[] = {{&frame, sizeof frame}, {buffer + first * page_size, pages * page_size}};
  send_all(parts, 2);
  sent_bytes += (uint64_t)pages * page_size;
}

/* Up to frame_pages pages: reads them and sends those whose hash is new. Returns how many. */
static unsigned look(unsigned task, unsigned r, uint64_t start, unsigned pages, int frozen, int hot) {
  struct task *t = &tasks[task];
  struct hash *known = t->known[r] + (start - t->range[r].start) / page_size;
  struct iovec here = {buffer, pages * page_size}, there = {(void *)start, pages * page_size};
  ssize_t got = process_vm_readv(t->pid, &here, 1, &there, 1, 0);
  if (frozen && got != (ssize_t)(pages * page_size))
    die("changed: %d: memory at %lx is not readable", t->pid, start);
  if (got < 0) return 0; /* unmapped meanwhile */
  unsigned changed = 0, first = 0, count = 0;
  pages = (unsigned)(got / page_size);
  for (unsigned p = 0; p < pages; p++) {
    struct hash h = page_hash(hello.key, buffer + p * page_size);
    if (frozen) add_to_digest(&digest, h);
    if (h.low == known[p].low && h.high == known[p].high) {
      if (count > 0) send_pages(task, start, first, count, hot);
      count = 0;
      continue;
    }
    known[p] = h;
    if (count++ == 0) first = p;
    changed++;
  }
  if (count > 0) send_pages(task, start, first, count, hot);
  return changed;
}

/* All present pages of a range: looked at, or (`only_runs`) just noted. */
static uint64_t look_at_range(unsigned task, unsigned r, int frozen, int hot, int only_runs) {
  struct task *t = &tasks[task];
  uint64_t changed = 0;
  struct page_region found[512];
  for (uint64_t at = t->range[r].start; at < t->range[r].end;) {
    int n = scan_present(t->pagemap, &at, t->range[r].end, found, 512);
    if (n < 0) return changed; /* it has ended */
    for (int i = 0; i < n; i++) {
      struct range run = {found[i].start, found[i].end};
      if (frozen) add_range(&t->run, &t->runs, &t->runs_room, run);
      for (uint64_t p = run.start; p < run.end && !only_runs; p += frame_pages * page_size) {
        uint64_t left = (run.end - p) / page_size;
        changed += look(task, r, p, left < frame_pages ? (unsigned)left : frame_pages, frozen, hot);
      }
    }
  }
  return changed;
}
static uint64_t one_round(int frozen, int hot, int only_runs) {
  uint64_t changed = 0;
  for (unsigned i = 0; i < task_count; i++)
    for (unsigned r = 0; r < tasks[i].ranges; r++)
      changed += look_at_range(i, r, frozen, hot, only_runs);
  return changed * page_size;
}

/* Until criu has made its first image: then everything that it dumps stands still. */
static void wait_for_freeze(const char *dir, int watch) {
  char path[4096];
  snprintf(path, sizeof path, "%s/files.img", dir);
  while (access(path, F_OK) != 0) {
    struct pollfd on[] = {{watch, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    poll(on, 2, -1);
    if (on[1].revents) exit(0);
    char events[4096];
    if (on[0].revents && read(watch, events, sizeof events) < 0 && errno != EAGAIN)
      die("inotify: %s", strerror(errno));
  }
}

static void send_runs(void) {
  struct frame frame = {.type = FRAME_END};
  uint32_t runs[tasks_max];
  for (unsigned i = 0; i < task_count; i++) runs[i] = tasks[i].runs;
  struct iovec parts[] = {{&frame, sizeof frame}, {&digest, sizeof digest}, {runs, task_count * 4}};
  send_all(parts, 3);
  for (unsigned i = 0; i < task_count; i++)
    if (tasks[i].runs)
      send_all(&(struct iovec){tasks[i].run, tasks[i].runs * sizeof(struct range)}, 1);
}

static void wait_for_word(void) {
  char word = 0;
  ssize_t n;
  while ((n = read(connection, &word, 1)) < 0 && errno == EINTR) {
  }
  if (n != 1 || word != 'K') die("the target did not get all of it");
}

/* The range that a run lies in. */
static unsigned range_of(const struct task *t, uint64_t page) {
  unsigned r = 0;
  while (r + 1 < t->ranges && t->range[r].end <= page) r++;
  return r;
}
/* The next request, or NULL: there is none yet (`flags`: MSG_DONTWAIT). */
static const struct request *take_request(int flags) {
  static struct request asked;
  static size_t got;
  while (got < sizeof asked) {
    ssize_t n = recv(connection, (char *)&asked + got, sizeof asked - got, flags);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return NULL;
    if (n <= 0) die("the target did not get all of it");
    got += (size_t)n;
  }
  got = 0;
  return &asked;
}
static void send_asked(void) {
  enum { around = 16 };
  for (const struct request *next; (next = take_request(MSG_DONTWAIT));) {
    struct request asked = *next;
    if (asked.task >= task_count) die("the target asks for what there is not");
    struct task *t = &tasks[asked.task];
    for (unsigned k = 0; k < t->runs; k++) {
      if (t->run[k].end <= asked.page || t->run[k].start > asked.page) continue;
      uint64_t left = (t->run[k].end - asked.page) / page_size;
      look((unsigned)asked.task, range_of(t, asked.page), asked.page,
           left < around ? (unsigned)left : around, 1, 0);
      break;
    }
  }
}
/* All pages now would take time from the restore, on both nodes. */
static void until_it_runs(void) {
  struct pollfd on[] = {{connection, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  do {
    while (poll(on, 2, -1) < 0 && errno == EINTR) {
    }
    if (on[0].revents) send_asked();
  } while (!on[1].revents);
  char line;
  if (read(STDIN_FILENO, &line, 1) != 1) exit(0);
}
static void pages_after(void) {
  for (unsigned i = 0; i < task_count; i++)
    for (unsigned k = 0; k < tasks[i].runs; k++) {
      struct range run = tasks[i].run[k];
      for (uint64_t p = run.start; p < run.end; p += frame_pages * page_size) {
        uint64_t left = (run.end - p) / page_size;
        send_asked();
        look(i, range_of(&tasks[i], p), p, left < frame_pages ? (unsigned)left : frame_pages, 1, 0);
      }
    }
  struct frame frame = {.type = FRAME_ALL};
  send_all(&(struct iovec){&frame, sizeof frame}, 1);
  /* What is asked for now crossed its answer. */
  while (take_request(0)->task != ALL_HERE) {
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--post-copy") == 0) hello.post_copy = 1, argc--, argv++;
  const char *dir = argv[1];
  if (argc < 3 || argc - 2 > tasks_max) die("usage: ssi-ahead [--post-copy] DIR PID...");
  fcntl(connection, F_SETFL, fcntl(connection, F_GETFL) & ~O_NONBLOCK);
  limit_silence(connection);
  int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (watch < 0 || inotify_add_watch(watch, dir, IN_CREATE) < 0) die("%s: %s", dir, strerror(errno));
  for (; task_count < (unsigned)argc - 2; task_count++) {
    tasks[task_count].pid = atoi(argv[task_count + 2]);
    choose_ranges(&tasks[task_count]);
  }
  write_ranges(dir);
  say_hello();
  uint64_t before = UINT64_MAX;
  for (int round = 0; round < rounds_max && !hello.post_copy; round++) {
    uint64_t changed = one_round(0, round > 0, 0);
    /* Written faster than it can be sent: another round gains nothing. */
    if (changed < ROUND_MIN || changed > before / 2) break;
    before = changed;
  }
  printf("ready %lu\n", sent_bytes);
  fflush(stdout);
  wait_for_freeze(dir, watch);
  for (unsigned i = 0; i < task_count; i++) {
    open_pagemap(&tasks[i]);
    check_ranges(&tasks[i]);
  }
  one_round(1, 1, (int)hello.post_copy);
  send_runs();
  wait_for_word();
  printf("sent %lu\n", sent_bytes);
  fflush(stdout);
  if (!hello.post_copy) return 0;
  until_it_runs();
  pages_after();
  printf("all %lu\n", sent_bytes);
  return 0;
}
