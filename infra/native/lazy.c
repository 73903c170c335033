/*
 * ssi-lazy DIR: gives a restored tree its memory while it already runs.
 *
 * `criu restore --lazy-pages` leaves out what was sent ahead and hands a userfaultfd for each task to the
 * socket DIR/lazy-pages.socket.
 * All pages are on this node before (ahead.map, ahead.pages), so no link can break: what is touched is copied at once, the rest in the background, what changed last first. Ends when
 * all is there. Says `ready` on standard output when the socket listens; an end of standard input before
 * criu has come ends it.
 *
 * Post-copy: the pages are still coming (ahead.here). Who touches one waits for it; when they come no more, the
 * tree is killed.
 *
 * A page that is missing when the last userfaultfd is closed reads as zeros. So two processes share the
 * descriptors: when the one that works dies, the other has them open still (who touches a missing page
 * waits) and kills the tree. Both are in the cgroup of the programs: they freeze and end with them.
 * [userfaultfd(2), ioctl_userfaultfd(2); criu: uffd.c]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ahead.h"

enum { spaces_max = 4096, background_pages = 64, around_pages = 16, messages_max = 64 };
#define RESTORE_FINISHED 0x52535446

/* An address space: what it still lacks, sorted. The child of a fork has its own. */
struct space {
  int uffd;
  struct map_run *piece, *hot;
  uint32_t pieces, room, hots, hot_at;
  uint64_t wanted[wanted_max]; /* addresses of pages that have been asked for */
  unsigned wanted_count;
};
/* Both processes know whom to kill: shared memory. */
struct shared {
  int pids[tasks_max], uffds[spaces_max], pid_count, uffd_count;
};
static struct shared *shared;
static struct space space[spaces_max];
static unsigned spaces;
static const char *pages;
static struct here *here; /* post-copy only */
static int here_fd = -1, asked_fd = -1, came_fd = -1;
static struct map_task *map_tasks;
static struct map_run **map_runs;
static uint32_t task_count;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  _exit(1);
}

static void *room(size_t count, size_t size) {
  void *list = calloc(count + 1, size);
  if (!list) die("no memory");
  return list;
}

static void load_map(void) {
  FILE *map = fopen("ahead.map", "re");
  int fd = open("ahead.pages", O_RDONLY | O_CLOEXEC);
  struct stat stat;
  if (!map || fd < 0 || fstat(fd, &stat) < 0) die("no memory was sent ahead: %s", strerror(errno));
  if (stat.st_size > 0) pages = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (pages == MAP_FAILED) die("ahead.pages: %s", strerror(errno));
  close(fd);
  if ((here_fd = open("ahead.here", O_RDWR | O_CLOEXEC)) >= 0) {
    size_t size = sizeof *here + (size_t)stat.st_size / page_size;
    here = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, here_fd, 0);
    if (here == MAP_FAILED) die("ahead.here: %s", strerror(errno));
    asked_fd = open("ahead.asked", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    came_fd = open("ahead.came", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (asked_fd < 0 || came_fd < 0) die("ahead.asked, ahead.came: %s", strerror(errno));
  }
  if (fread(&task_count, sizeof task_count, 1, map) != 1) die("ahead.map is cut off");
  map_tasks = room(task_count, sizeof *map_tasks);
  map_runs = room(task_count, sizeof *map_runs);
  for (unsigned i = 0; i < task_count; i++) {
    if (fread(&map_tasks[i], sizeof *map_tasks, 1, map) != 1) die("ahead.map is cut off");
    size_t runs = map_tasks[i].hot + (size_t)map_tasks[i].runs;
    map_runs[i] = room(runs, sizeof **map_runs);
    if (fread(map_runs[i], sizeof **map_runs, runs, map) != runs) die("ahead.map is cut off");
  }
  fclose(map);
}

static struct space *new_space(int uffd, const struct map_run *pieces, uint32_t count) {
  if (spaces == spaces_max) die("too many address spaces");
  struct space *s = &space[spaces++];
  *s = (struct space){.uffd = uffd, .pieces = count, .room = count + 64};
  s->piece = room(s->room, sizeof *s->piece);
  memcpy(s->piece, pieces, count * sizeof *pieces);
  shared->uffds[shared->uffd_count++] = uffd;
  return s;
}
static void drop_space(struct space *s) {
  for (int i = 0; i < shared->uffd_count; i++)
    if (shared->uffds[i] == s->uffd) shared->uffds[i] = shared->uffds[--shared->uffd_count];
  close(s->uffd);
  free(s->piece);
  *s = space[--spaces];
}

/* Index of the first piece that ends after `at`. */
static uint32_t find(const struct space *s, uint64_t at) {
  uint32_t low = 0, high = s->pieces;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (s->piece[middle].end <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}
static void insert(struct space *s, uint32_t at, struct map_run run) {
  if (s->pieces == s->room) {
    s->room *= 2;
    s->piece = realloc(s->piece, s->room * sizeof *s->piece);
    if (!s->piece) die("no memory");
  }
  memmove(s->piece + at + 1, s->piece + at, (s->pieces++ - at) * sizeof *s->piece);
  s->piece[at] = run;
}
/* Nothing in [start, end) is lacking any more: it is there, or not wanted. */
static void drop(struct space *s, uint64_t start, uint64_t end) {
  uint32_t i = find(s, start);
  if (i < s->pieces && s->piece[i].start < start) {
    struct map_run tail = s->piece[i];
    s->piece[i++].end = start;
    if (tail.end > end) {
      tail.offset += end - tail.start;
      tail.start = end;
      insert(s, i, tail);
      return;
    }
  }
  uint32_t first = i;
  while (i < s->pieces && s->piece[i].end <= end) i++;
  memmove(s->piece + first, s->piece + i, (s->pieces - i) * sizeof *s->piece);
  s->pieces -= i - first;
  if (first < s->pieces && s->piece[first].start < end) {
    s->piece[first].offset += end - s->piece[first].start;
    s->piece[first].start = end;
  }
}
/* mremap(2): what was lacking at `from` is lacking at `to`. */
static void move(struct space *s, uint64_t from, uint64_t to, uint64_t size) {
  struct space moved = {.room = 64};
  moved.piece = room(moved.room, sizeof *moved.piece);
  for (uint32_t i = find(s, from); i < s->pieces && s->piece[i].start < from + size; i++) {
    struct map_run run = s->piece[i];
    if (run.start < from) run.offset += from - run.start, run.start = from;
    if (run.end > from + size) run.end = from + size;
    run.start += to - from, run.end += to - from;
    insert(&moved, moved.pieces, run);
  }
  drop(s, from, from + size);
  drop(s, to, to + size);
  for (uint32_t i = 0; i < moved.pieces; i++) insert(s, find(s, moved.piece[i].start), moved.piece[i]);
  free(moved.piece);
}

/* How much from this offset on has come, `most` bytes at most. */
static uint64_t has_come(uint64_t offset, uint64_t most) {
  uint64_t size = 0;
  if (!here) return most;
  while (size < most && __atomic_load_n(&here->page[(offset + size) / page_size], __ATOMIC_ACQUIRE))
    size += page_size;
  return size;
}

static int events(struct space *s);

/* Copies what is lacking of [start, end). 0: done; 1: the next of it has not come; -1: the address space is
 * gone. */
static int fill(struct space *s, uint64_t start, uint64_t end) {
  uint64_t most = end - start;
  for (int tries = 0; start < end;) {
    uint32_t i = find(s, start);
    if (i == s->pieces || s->piece[i].start >= end) return 0;
    struct map_run run = s->piece[i];
    if (run.start > start) start = run.start;
    uint64_t stop = run.end < end ? run.end : end;
    if (stop - start > most) stop = start + most;
    stop = start + has_come(run.offset + (start - run.start), stop - start);
    if (stop == start) return 1;
    struct uffdio_copy copy = {.dst = start, .len = stop - start,
                               .src = (uintptr_t)pages + run.offset + (start - run.start)};
    int failed = ioctl(s->uffd, UFFDIO_COPY, &copy) < 0 ? errno : 0;
    if (copy.copy > 0) {
      drop(s, start, start + (uint64_t)copy.copy);
      start += (uint64_t)copy.copy;
      tries = 0;
    } else if (failed == EEXIST) { /* another fault was quicker */
      struct uffdio_range page = {start, page_size};
      ioctl(s->uffd, UFFDIO_WAKE, &page);
      drop(s, start, start + page_size);
      start += page_size;
    } else if (failed == ESRCH || failed == ENOSPC) {
      return -1;
    } else if (failed == ENOENT && most > page_size) {
      most = page_size; /* it reaches into the next mapping */
    } else if (failed == EAGAIN || failed == ENOENT) {
      /* The program is changing its mappings: it waits until that is read here. */
      struct pollfd on = {s->uffd, POLLIN, 0};
      poll(&on, 1, 10);
      if (events(s) < 0) return -1;
      if (++tries > 100) die("%lx cannot be filled: %s", start, strerror(failed));
    } else if (failed) {
      die("UFFDIO_COPY: %s", strerror(failed));
    }
  }
  return 0;
}

static int fault(struct space *s, uint64_t address) {
  uint64_t page = address & ~(uint64_t)(page_size - 1);
  uint32_t i = find(s, page);
  if (i < s->pieces && s->piece[i].start <= page) {
    uint64_t offset = s->piece[i].offset + (page - s->piece[i].start);
    if (has_come(offset, page_size)) return fill(s, page, page + around_pages * page_size) < 0 ? -1 : 0;
    /* Copied when it comes, which wakes who waits; what cannot be noted comes with the rest. */
    if (s->wanted_count == wanted_max) return 0;
    s->wanted[s->wanted_count++] = page;
    if (write(asked_fd, &offset, sizeof offset) < 0) die("ahead.asked: %s", strerror(errno));
    return 0;
  }
  struct uffdio_zeropage zero = {.range = {page, page_size}};
  if (ioctl(s->uffd, UFFDIO_ZEROPAGE, &zero) == 0) return 0;
  if (errno == ESRCH || errno == ENOSPC) return -1;
  ioctl(s->uffd, UFFDIO_WAKE, &zero.range); /* it is there, or will fault again */
  return 0;
}

/* What the kernel tells of this address space; forks add one. -1: it is gone. */
static int events(struct space *s) {
  struct uffd_msg message;
  for (int i = 0; i < messages_max; i++) {
    ssize_t n = read(s->uffd, &message, sizeof message);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n != sizeof message) return -1;
    switch (message.event) {
      case UFFD_EVENT_PAGEFAULT:
        if (fault(s, message.arg.pagefault.address) < 0) return -1;
        break;
      case UFFD_EVENT_FORK:
        new_space((int)message.arg.fork.ufd, s->piece, s->pieces);
        break;
      case UFFD_EVENT_REMAP:
        move(s, message.arg.remap.from, message.arg.remap.to, message.arg.remap.len);
        break;
      case UFFD_EVENT_REMOVE:
      case UFFD_EVENT_UNMAP:
        drop(s, message.arg.remove.start, message.arg.remove.end);
        break;
      default:
        die("an unknown event");
    }
  }
  return 0;
}

/* What was asked for and has come. -1: the address space is gone. */
static int fill_wanted(struct space *s) {
  for (unsigned w = s->wanted_count; w-- > 0;) {
    int waits = fill(s, s->wanted[w], s->wanted[w] + page_size);
    if (waits < 0) return -1;
    if (!waits) s->wanted[w] = s->wanted[--s->wanted_count];
  }
  return 0;
}

/* A step in the background. 0: nothing is lacking; 1: it went on; 2: it waits; -1: the address space is gone. */
static int background(struct space *s) {
  const uint64_t most = background_pages * page_size;
  while (s->hot_at < s->hots) {
    struct map_run run = s->hot[s->hot_at++];
    uint32_t i = find(s, run.start);
    if (i < s->pieces && s->piece[i].start < run.end) return fill(s, run.start, run.end) < 0 ? -1 : 1;
  }
  if (s->pieces == 0) return 0;
  uint32_t before = s->pieces;
  uint64_t from = s->piece[0].start;
  if (fill(s, from, from + most) < 0) return -1;
  return s->pieces != before || s->piece[0].start != from ? 1 : 2;
}

/* A task's pid as an int, then a byte with its userfaultfd. 0: criu is done with the restore. */
static int greeting(int criu) {
  int pid = 0;
  ssize_t n = recv(criu, &pid, sizeof pid, MSG_WAITALL);
  if (n != sizeof pid) exit(0); /* criu gave up, and has killed what it had made */
  if (pid == RESTORE_FINISHED) return 0;
  if (pid < 0) return 1; /* a zombie */
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  struct cmsghdr *rights;
  if (recvmsg(criu, &message, MSG_CMSG_CLOEXEC) != 1 || !(rights = CMSG_FIRSTHDR(&message)))
    die("criu sent no userfaultfd");
  int uffd;
  memcpy(&uffd, CMSG_DATA(rights), sizeof uffd);
  if (shared->pid_count == tasks_max) die("too many tasks");
  shared->pids[shared->pid_count++] = pid;
  struct map_run none;
  for (unsigned i = 0; i < task_count; i++) {
    if (map_tasks[i].pid != pid) continue;
    struct space *s = new_space(uffd, map_runs[i] + map_tasks[i].hot, map_tasks[i].runs);
    s->hot = map_runs[i];
    s->hots = map_tasks[i].hot;
    return 1;
  }
  new_space(uffd, &none, 0);
  return 1;
}

/* Post-copy: ssi-ahead-in lives no more, and pages are missing. */
static void check_link(void) {
  if (flock(here_fd, LOCK_SH | LOCK_NB) < 0) return;
  if (!__atomic_load_n(&here->complete, __ATOMIC_ACQUIRE)) die("the link broke before all of the memory had come");
  flock(here_fd, LOCK_UN);
}

static void serve(int criu) {
  int restoring = 1, waiting = 1;
  while (restoring || spaces > 0) {
    struct pollfd on[spaces_max + 2];
    unsigned count = spaces;
    char woken[256];
    for (unsigned i = 0; i < count; i++) on[i] = (struct pollfd){space[i].uffd, POLLIN, 0};
    on[count] = (struct pollfd){restoring ? criu : -1, POLLIN, 0};
    on[count + 1] = (struct pollfd){came_fd, POLLIN, 0};
    if (poll(on, count + 2, waiting) < 0 && errno != EINTR) die("poll: %s", strerror(errno));
    if (on[count].revents) restoring = greeting(criu);
    if (on[count + 1].revents && read(came_fd, woken, sizeof woken) < 0 && errno != EAGAIN)
      die("ahead.came: %s", strerror(errno));
    /* From the last to the first: a space that is dropped is replaced by the last one. */
    for (unsigned i = count; i-- > 0;)
      if (on[i].revents && events(&space[i]) < 0) drop_space(&space[i]);
    for (unsigned i = spaces; i-- > 0;)
      if (fill_wanted(&space[i]) < 0) drop_space(&space[i]);
    if (restoring) {
      waiting = here ? 100 : -1; /* ms; the link may break */
      if (here) check_link();
      continue;
    }
    waiting = 10;
    for (unsigned i = spaces; i-- > 0;) {
      int step = background(&space[i]);
      if (step <= 0) drop_space(&space[i]);
      if (step != 2) waiting = 0;
    }
    if (waiting && here) check_link();
  }
}

/* The one that worked is dead. Who touches a missing page waits for ever, until it is killed here. */
static void mourn(void) {
  for (;;) {
    int left = 0;
    for (int i = 0; i < shared->pid_count; i++)
      if (kill(shared->pids[i], SIGKILL) == 0) left++;
    /* Children that were forked meanwhile wait too: their parents' end is theirs, or a kill by hand. */
    for (int i = 0; i < shared->uffd_count; i++) {
      struct uffdio_zeropage probe = {.range = {0, page_size}};
      if (ioctl(shared->uffds[i], UFFDIO_ZEROPAGE, &probe) < 0 && errno != ESRCH) left++;
    }
    if (left == 0) return;
    usleep(20000);
  }
}

int main(int argc, char **argv) {
  if (argc != 2 || chdir(argv[1]) < 0) die("usage: ssi-lazy DIR");
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) die("no memory");
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "lazy-pages.socket"};
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unlink(name.sun_path);
  if (bind(listener, (struct sockaddr *)&name, sizeof name) < 0 || listen(listener, 1) < 0)
    die("lazy-pages.socket: %s", strerror(errno));
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
  struct pollfd on[] = {{listener, POLLIN, 0}, {STDIN_FILENO, 0, 0}};
  while (poll(on, 2, -1) < 0 && errno == EINTR) {
  }
  if (!on[0].revents) return 0;
  pid_t worker = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (worker < 0) die("clone: %s", strerror(errno));
  if (worker == 0) {
    int criu = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (criu < 0) die("accept: %s", strerror(errno));
    load_map();
    serve(criu);
    _exit(0);
  }
  int status;
  while (waitpid(worker, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  mourn();
  return 1;
}
