/*
 * ssi-ahead-in DIR: takes what ssi-ahead sends (ahead.h), into DIR/ahead.pages, on the node's tmpfs.
 *
 * The connection is descriptor 3. When all is here and its digest is the source's, DIR/ahead.map is made,
 * whole or not at all, the source is told, `ready` said on standard output, and the exit code is 0. Post-copy:
 * likewise when the runs are here; the pages are noted in DIR/ahead.here as they come, then it ends. Otherwise a line on standard error, exit 1.
 * An end of standard input ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ahead.h"

enum { connection = 3 };

struct task {
  struct task_head head;
  struct range *range;
  uint64_t *offset; /* of each range in the file */
  struct hash **known;
  struct map_run *hot;
  uint32_t hot_count, hot_room;
};
static struct task *tasks;
static struct hello hello;
static char *pages;
static uint64_t pages_bytes;
static struct here *here; /* post-copy only, like these */
static int asked_fd = -1, came_fd = -1;
static uint64_t asked[wanted_max];
static unsigned asked_count;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  exit(1);
}

static void pass_on_asked(void);

static void take(void *to, size_t size) {
  for (size_t done = 0; done < size;) {
    struct pollfd on[] = {{connection, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}, {asked_fd, POLLIN, 0}};
    if (poll(on, 3, -1) > 0 && on[1].revents) exit(1);
    if (on[2].revents) pass_on_asked();
    if (!on[0].revents) continue;
    ssize_t n = recv(connection, (char *)to + done, size - done, MSG_DONTWAIT);
    if (n == 0) die("the source ended early");
    if (n < 0 && errno != EINTR && errno != EAGAIN) die("the connection broke: %s", strerror(errno));
    if (n > 0) done += (size_t)n;
  }
}

static void answer(const void *what, size_t size) {
  if (send(connection, what, size, MSG_NOSIGNAL) != (ssize_t)size) die("the source is gone");
}

static void *room(size_t count, size_t size) {
  void *list = calloc(count + 1, size);
  if (!list) die("no memory");
  return list;
}

static void take_hello(void) {
  take(&hello, sizeof hello);
  if (hello.magic != AHEAD_MAGIC || hello.tasks > tasks_max) die("the source speaks another protocol");
  tasks = room(hello.tasks, sizeof *tasks);
  for (struct task *t = tasks; t < tasks + hello.tasks; t++) {
    take(&t->head, sizeof t->head);
    if (t->head.ranges > ranges_max) die("%u ranges", t->head.ranges);
    t->range = room(t->head.ranges, sizeof *t->range);
    t->offset = room(t->head.ranges, sizeof *t->offset);
    t->known = room(t->head.ranges, sizeof *t->known);
    take(t->range, t->head.ranges * sizeof *t->range);
    for (unsigned r = 0; r < t->head.ranges; r++) {
      uint64_t size = t->range[r].end - t->range[r].start;
      if (t->range[r].end <= t->range[r].start || size % page_size) die("a bad range");
      t->offset[r] = pages_bytes;
      t->known[r] = room(size / page_size, sizeof **t->known);
      pages_bytes += size;
    }
  }
}

/* Holes stay holes: only what comes takes room. */
static void open_pages(const char *dir) {
  char path[4096];
  snprintf(path, sizeof path, "%s/ahead.pages", dir);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)pages_bytes) < 0) die("%s: %s", path, strerror(errno));
  if (pages_bytes == 0) return;
  pages = mmap(NULL, pages_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (pages == MAP_FAILED) die("%s: %s", path, strerror(errno));
  close(fd);
}

/* Both ways, so that neither end waits for the other one. */
static int open_fifo(const char *dir, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  unlink(path);
  int fd = mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;
  if (fd < 0) die("%s: %s", path, strerror(errno));
  return fd;
}

static void open_here(const char *dir) {
  char path[4096];
  snprintf(path, sizeof path, "%s/ahead.here", dir);
  size_t size = sizeof *here + pages_bytes / page_size;
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || flock(fd, LOCK_EX) < 0) die("%s: %s", path, strerror(errno));
  here = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (here == MAP_FAILED) die("%s: %s", path, strerror(errno));
  asked_fd = open_fifo(dir, "ahead.asked");
  came_fd = open_fifo(dir, "ahead.came");
}

/* The range that holds all of [start, end); dies if none does. */
static unsigned range_of(const struct task *t, uint64_t start, uint64_t end) {
  unsigned low = 0, high = t->head.ranges;
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (t->range[middle].end <= start) low = middle + 1;
    else high = middle;
  }
  if (low == t->head.ranges || start < t->range[low].start || end > t->range[low].end || end <= start)
    die("pages outside of their range");
  return low;
}

static void note_hot(struct task *t, struct map_run run) {
  if (t->hot_count == t->hot_room) {
    t->hot_room = t->hot_room ? t->hot_room * 2 : 64;
    t->hot = realloc(t->hot, t->hot_room * sizeof *t->hot);
    if (!t->hot) die("no memory");
  }
  t->hot[t->hot_count++] = run;
}

static void take_pages(const struct frame *frame) {
  if (frame->task >= hello.tasks || frame->pages == 0 || frame->pages > frame_pages || frame->start % page_size)
    die("a bad frame");
  struct task *t = &tasks[frame->task];
  uint64_t end = frame->start + (uint64_t)frame->pages * page_size;
  unsigned r = range_of(t, frame->start, end);
  uint64_t offset = frame->start - t->range[r].start;
  char *into = pages + t->offset[r] + offset;
  take(into, (size_t)frame->pages * page_size);
  uint64_t first = (t->offset[r] + offset) / page_size;
  for (unsigned p = 0; here && p < frame->pages; p++)
    __atomic_store_n(&here->page[first + p], 1, __ATOMIC_RELEASE);
  for (unsigned i = asked_count; i-- > 0;) {
    if (asked[i] / page_size < first || asked[i] / page_size >= first + frame->pages) continue;
    asked[i] = asked[--asked_count];
    if (write(came_fd, "", 1) < 0 && errno != EAGAIN) die("ahead.came: %s", strerror(errno));
  }
  for (unsigned p = 0; !here && p < frame->pages; p++)
    t->known[r][offset / page_size + p] = page_hash(hello.key, into + p * page_size);
  if (frame->hot && !here) note_hot(t, (struct map_run){frame->start, end, t->offset[r] + offset});
}

/* What ssi-lazy is asked for and has not got, to the source. */
static void pass_on_asked(void) {
  uint64_t offset;
  while (read(asked_fd, &offset, sizeof offset) == sizeof offset) {
    /* More at a time than can be noted: ssi-lazy looks again by itself. */
    if (asked_count < wanted_max) asked[asked_count++] = offset;
    for (unsigned i = 0; i < hello.tasks; i++)
      for (unsigned r = 0; r < tasks[i].head.ranges; r++) {
        struct range range = tasks[i].range[r];
        uint64_t first = tasks[i].offset[r];
        if (offset < first || offset >= first + (range.end - range.start)) continue;
        struct request request = {i, range.start + (offset - first)};
        answer(&request, sizeof request);
      }
  }
}

/* All runs, against the digest, into the map. */
static void finish(const char *dir) {
  char temporary[4096], path[4096];
  snprintf(temporary, sizeof temporary, "%s/ahead.map.new", dir);
  snprintf(path, sizeof path, "%s/ahead.map", dir);
  struct hash wanted, digest = {0, 0};
  uint32_t counts[tasks_max];
  take(&wanted, sizeof wanted);
  take(counts, hello.tasks * sizeof *counts);
  FILE *map = fopen(temporary, "we");
  if (!map) die("%s: %s", temporary, strerror(errno));
  fwrite(&hello.tasks, sizeof hello.tasks, 1, map);
  for (unsigned i = 0; i < hello.tasks; i++) {
    struct task *t = &tasks[i];
    if (counts[i] > pages_bytes / page_size) die("too many runs");
    struct range *runs = room(counts[i], sizeof *runs);
    take(runs, counts[i] * sizeof *runs);
    struct map_task head = {(int32_t)t->head.pid, t->hot_count, counts[i]};
    fwrite(&head, sizeof head, 1, map);
    fwrite(t->hot, sizeof *t->hot, t->hot_count, map);
    for (unsigned k = 0; k < counts[i]; k++) {
      unsigned r = range_of(t, runs[k].start, runs[k].end);
      uint64_t offset = runs[k].start - t->range[r].start, size = runs[k].end - runs[k].start;
      for (uint64_t p = offset / page_size; p < (offset + size) / page_size; p++)
        add_to_digest(&digest, t->known[r][p]);
      struct map_run run = {runs[k].start, runs[k].end, t->offset[r] + offset};
      fwrite(&run, sizeof run, 1, map);
    }
    free(runs);
  }
  if (!here && (digest.low != wanted.low || digest.high != wanted.high)) die("the pages are not the source's");
  if (fclose(map) != 0 || rename(temporary, path) != 0) die("%s: %s", path, strerror(errno));
}

int main(int argc, char **argv) {
  if (argc != 2) die("usage: ssi-ahead-in DIR");
  limit_silence(connection);
  take_hello();
  open_pages(argv[1]);
  if (hello.post_copy) open_here(argv[1]);
  for (;;) {
    struct frame frame;
    take(&frame, sizeof frame);
    if (frame.type == FRAME_PAGES) take_pages(&frame);
    else if (frame.type == FRAME_END) finish(argv[1]);
    else if (frame.type != FRAME_ALL) die("a bad frame");
    if (frame.type == FRAME_ALL && here) __atomic_store_n(&here->complete, 1, __ATOMIC_RELEASE);
    struct request all = {ALL_HERE, 0};
    if (frame.type == FRAME_END) answer("K", 1);
    if (frame.type == FRAME_ALL) answer(&all, sizeof all);
    if (frame.type == FRAME_END && write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
    if (frame.type == FRAME_ALL || (frame.type == FRAME_END && !here)) return 0;
  }
}
