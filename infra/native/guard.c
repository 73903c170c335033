/*
 * ssi-guard: pid 1 of a node. It owns what must outlive every service of the node: the right to run
 * (the programs' cgroup is frozen unless a lease runs), the pid range, placeholders for numbers in use
 * elsewhere, open descriptions of the standard streams, and the exit status of every orphan. It decides
 * nothing: services tell it over <node-dir>/guard.sock, one text line a command, one line a reply,
 * `ok ...` or `error ERRNO text`. Its death is the node's. [pid_namespaces(7), design 6 and 7]
 *
 * Commands
 *   lease MS | lease-until T   the node may run MS more ms | until T ms of CLOCK_BOOTTIME; 0: freeze now
 *   watch                      from now on this connection gets `frozen T` and `thawed T` lines as well
 *   kill                       SIGKILL of all programs; answers when none is left
 *   open PATH FLAGS | close FD | fds     FLAGS: r w rw, and n nonblock, a append, c create
 *   pty ROWS COLS              -> ok MASTERFD SLAVEPATH
 *   hold PID | hold any | release PID | held
 *   pidmax open | pidmax range           counted by connection: a lost connection gives back what it took
 *   status
 * Exits: <node-dir>/exits, a line before the reaping: PID STARTTICKS CODE SIGNAL UTIME_US STIME_US MAXRSS_KB
 *
 * cc -std=c11 -O2 -Wall -Wextra -o ssi-guard guard.c
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  clients_max = 64,
  line_max = 4096, /* of a command; a longer one closes the connection */
  output_max = 4 << 20, /* unread replies of one client; more closes the connection */
  held_max = 16384,
  stored_max = 16384, /* open file descriptions kept for services */
  exits_bytes_max = 4 << 20,
  pid_max_open = 4194304, /* PID_MAX_LIMIT of 64-bit kernels: clone3 may set any pid */
  forks_per_ms_max = 20, /* five times what was ever seen on one machine */
  respawn_min_ms = 100,
  respawn_max_ms = 2000,
  net_wait_ms = 10000,
};

struct client {
  int fd;
  bool watching, waits_for_kill;
  pid_t waits_for_reap; /* its `release` answers when this placeholder is gone */
  int pidmax_opens;
  char in[line_max];
  size_t in_length;
  char *out;
  size_t out_length, out_size;
};
struct stored {
  int fd;
  char path[PATH_MAX];
};

static struct {
  int num, pid_bits;
  pid_t low, high;
  const char *name, *node_dir, *cgroup, *services_cgroup, *state_file, *wait_net;
  bool unshare, host_net;
  char **child;
} option = {.pid_bits = 16, .node_dir = "/run/ssi/node"};

static int epoll_fd, signal_fd, lease_fd, listen_fd, last_pid_fd = -1, pid_max_fd = -1, exits_fd;
static int freeze_fd = -1, kill_fd = -1;
static bool cgroup_v2, frozen, ending;
static double deadline_ms, last_pid_due_ms, child_due_ms, child_since_ms, net_wait_until_ms;
static double kill_due_ms; /* 0: no `kill` in work */
static int respawn_ms = respawn_min_ms, pidmax_opens;
static bool pid_max_is_ours; /* this kernel has a pid_max per pid namespace */
static pid_t child_pid;
static long exits_count;
static size_t exits_bytes;
static struct client *clients[clients_max];
static pid_t held[held_max];
static int held_count;
static struct stored *stored[stored_max];
static int stored_count;

/* --- small things --------------------------------------------------------------------------- */

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  dprintf(STDERR_FILENO, "{\"level\":\"info\",\"service\":\"guard\",\"node\":%d,\"text\":\"%s\"}\n",
          option.num, text);
}

__attribute__((noreturn)) static void die(const char *what) {
  dprintf(STDERR_FILENO, "ssi-guard: %s: %s\n", what, strerror(errno));
  _exit(1);
}

static bool write_text(int fd, const char *text) {
  return fd >= 0 && pwrite(fd, text, strlen(text), 0) == (ssize_t)strlen(text);
}

static bool write_number(int fd, long number) {
  char text[32];
  snprintf(text, sizeof text, "%ld", number);
  return write_text(fd, text);
}

static bool write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool written = write_text(fd, text);
  if (fd >= 0) close(fd);
  return written;
}

static long read_number(int fd) {
  char text[32] = "";
  return fd >= 0 && pread(fd, text, sizeof text - 1, 0) > 0 ? atol(text) : -1;
}

static void make_folders(const char *path) {
  char part[PATH_MAX];
  snprintf(part, sizeof part, "%s", path);
  for (char *slash = part + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
    *slash = 0;
    mkdir(part, 0755);
  }
  mkdir(part, 0755);
}

/* --- replies -------------------------------------------------------------------------------- */

static void drop_client(int slot);

static void flush_client(int slot) {
  struct client *c = clients[slot];
  while (c->out_length > 0) {
    ssize_t n = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR)
        shutdown(c->fd, SHUT_RDWR); /* epoll tells, then dropped */
      break;
    }
    memmove(c->out, c->out + n, c->out_length - (size_t)n);
    c->out_length -= (size_t)n;
  }
  struct epoll_event event = {.events = EPOLLIN | (c->out_length ? EPOLLOUT : 0),
                              .data.u32 = (uint32_t)slot};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void queue_text(struct client *c, const char *text, size_t length) {
  if (c->out_length + length > c->out_size) {
    size_t size = (c->out_length + length) * 2;
    char *bigger = size > output_max ? NULL : realloc(c->out, size);
    if (!bigger) {
      shutdown(c->fd, SHUT_RDWR); /* it doesn't read its replies */
      return;
    }
    c->out = bigger;
    c->out_size = size;
  }
  memcpy(c->out + c->out_length, text, length);
  c->out_length += length;
}

__attribute__((format(printf, 2, 3))) static void reply(int slot, const char *format, ...) {
  char text[line_max + 64];
  va_list list;
  va_start(list, format);
  int length = vsnprintf(text, sizeof text - 1, format, list);
  va_end(list);
  if (length > (int)sizeof text - 2) length = sizeof text - 2;
  text[length++] = '\n';
  queue_text(clients[slot], text, (size_t)length);
  flush_client(slot);
}

static void reply_error(int slot, int number, const char *text) {
  const char *name = strerrorname_np(number);
  reply(slot, "error %s %s", name ? name : "EIO", text);
}

/* --- the right to run ----------------------------------------------------------------------- */

/* Addresses that go with the lease are known by their labels: DEVICE:ssi floats with a program, DEVICE:lvs is the
   cluster's (but lo:lvs, of which ARP does not speak). Whoever set them sets them again when the lease is back. */
static void drop_addresses(void) {
  struct ifreq list[128];
  struct ifconf all = {.ifc_len = sizeof list, .ifc_req = list};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (ioctl(fd, SIOCGIFCONF, &all) == 0)
    for (size_t i = 0; i < (size_t)all.ifc_len / sizeof *list; i++) {
      const char *label = strchr(list[i].ifr_name, ':');
      if (!label || !strncmp(list[i].ifr_name, "lo:", 3)) continue;
      if (strcmp(label, ":ssi") && strcmp(label, ":lvs")) continue;
      list[i].ifr_flags = 0; /* an alias that is not up is removed. [netdevice(7)] */
      if (ioctl(fd, SIOCSIFFLAGS, &list[i])) say("cannot drop an address: %s", strerror(errno));
    }
  close(fd);
}

static void set_frozen(bool freeze) {
  bool done = cgroup_v2 ? write_text(freeze_fd, freeze ? "1" : "0")
                        : write_text(freeze_fd, freeze ? "FROZEN" : "THAWED");
  if (!done) say("cannot %s the programs: %s", freeze ? "freeze" : "thaw", strerror(errno));
  if (freeze) drop_addresses();
  if (frozen == freeze) return;
  frozen = freeze;
  for (int i = 0; i < clients_max; i++)
    if (clients[i] && clients[i]->watching)
      reply(i, "%s %.3f", frozen ? "frozen" : "thawed", now_ms());
}

static void arm_lease(void) {
  struct itimerspec timer = {0};
  if (deadline_ms > 0) {
    timer.it_value.tv_sec = (time_t)(deadline_ms / 1e3);
    timer.it_value.tv_nsec = (long)((deadline_ms - (double)timer.it_value.tv_sec * 1e3) * 1e6) + 1;
    if (timer.it_value.tv_nsec > 999999999) timer.it_value.tv_nsec = 999999999;
  }
  timerfd_settime(lease_fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

static void renew_lease(double until_ms) {
  bool runs = until_ms > now_ms();
  deadline_ms = runs ? until_ms : 0;
  arm_lease();
  if (frozen == runs || !runs) set_frozen(!runs);
}

static void open_cgroup(void) {
  char path[PATH_MAX];
  make_folders(option.cgroup);
  snprintf(path, sizeof path, "%s/cgroup.freeze", option.cgroup);
  freeze_fd = open(path, O_RDWR | O_CLOEXEC);
  cgroup_v2 = freeze_fd >= 0;
  if (!cgroup_v2) {
    snprintf(path, sizeof path, "%s/freezer.state", option.cgroup);
    if ((freeze_fd = open(path, O_RDWR | O_CLOEXEC)) < 0) die(path);
  }
  snprintf(path, sizeof path, "%s/cgroup.kill", option.cgroup);
  kill_fd = open(path, O_WRONLY | O_CLOEXEC);
  if (option.services_cgroup) {
    make_folders(option.services_cgroup);
    snprintf(path, sizeof path, "%s/cgroup.procs", option.services_cgroup);
    if (!write_file(path, "0")) die(path);
  }
}

/* Kills what is in the cgroup; returns how many were seen. A frozen v1 task dies only when it is
 * thawed, and then before it runs another instruction of its own: so frozen first, that none runs
 * between the blows, and thawed for good after, in every round, lest a lease that ends now keep them. */
static int kill_programs(bool first) {
  char text[65536];
  int seen = 0;
  /* Opened anew each time: of one that stays open, v1 goes on telling the same old list. */
  snprintf(text, sizeof text, "%s/cgroup.procs", option.cgroup);
  int procs_fd = open(text, O_RDONLY | O_CLOEXEC);
  if (procs_fd < 0) return 0;
  if (kill_fd >= 0) write_text(kill_fd, "1");
  if (!cgroup_v2 && first) write_text(freeze_fd, "FROZEN");
  size_t kept = 0;
  for (ssize_t n; (n = read(procs_fd, text + kept, sizeof text - 1 - kept)) > 0;) {
    char *line = text, *end;
    text[kept + (size_t)n] = 0;
    for (; (end = strchr(line, '\n')); line = end + 1) {
      seen++;
      pid_t pid = atoi(line);
      if (pid > 1) kill(pid, SIGKILL); /* 0: in another pid namespace, not ours to name */
    }
    kept = strlen(line);
    memmove(text, line, kept);
  }
  close(procs_fd);
  if (!cgroup_v2) write_text(freeze_fd, "THAWED");
  return seen;
}

static void pump_kill(void) {
  if (kill_programs(kill_due_ms == 0) > 0) {
    kill_due_ms = now_ms() + 2;
    return;
  }
  kill_due_ms = 0;
  if (!cgroup_v2 && frozen) write_text(freeze_fd, "FROZEN");
  if (ending) {
    say("ends");
    exit(0);
  }
  for (int i = 0; i < clients_max; i++)
    if (clients[i] && clients[i]->waits_for_kill) {
      clients[i]->waits_for_kill = false;
      reply(i, "ok");
    }
}

/* --- pids ----------------------------------------------------------------------------------- */

static void set_pid_max(void) {
  if (pid_max_is_ours) write_number(pid_max_fd, pidmax_opens > 0 ? pid_max_open : option.high + 1);
}

/* The kernel wraps to 300 at pid_max; the range must be rewound before. Half of it is the reserve for
 * when this comes late: looks again when, at the highest rate of forks, the first half is used up. */
static void keep_in_range(void) {
  long last = read_number(last_pid_fd), limit = option.low + (option.high - option.low) / 2;
  if (last < option.low - 1 || last >= limit) {
    if (last_pid_due_ms > 0 && last < option.low - 1)
      say("the range ran out: numbers from 300 to %ld were given", last);
    if (!write_number(last_pid_fd, option.low - 1))
      say("cannot set ns_last_pid: %s", strerror(errno));
    last = option.low - 1;
  }
  double wait = (double)(limit - last) / forks_per_ms_max;
  last_pid_due_ms = now_ms() + (wait < 5 ? 5 : wait > 1000 ? 1000 : wait);
}

static int held_index(pid_t pid) {
  for (int i = 0; i < held_count; i++)
    if (held[i] == pid) return i;
  return -1;
}

__attribute__((noreturn)) static void be_placeholder(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  syscall(SYS_close_range, 0, ~0U, 0);
  prctl(PR_SET_NAME, "ssi-held");
  for (;;) pause();
}

/* A child that only holds its number; 0: any. Returns the pid, or -1 with errno. */
static pid_t hold(pid_t want) {
  pid_t set_tid[1] = {want};
  struct clone_args args = {.exit_signal = SIGCHLD};
  if (held_count == held_max) return errno = EAGAIN, -1;
  if (want) {
    args.set_tid = (uint64_t)(uintptr_t)set_tid;
    args.set_tid_size = 1;
  }
  bool beyond = pid_max_is_ours && want > option.high;
  if (beyond && pidmax_opens++ == 0) set_pid_max();
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  int number = errno;
  if (pid == 0) be_placeholder();
  if (beyond && --pidmax_opens == 0) set_pid_max();
  errno = number;
  if (pid > 0) held[held_count++] = pid;
  return pid;
}

static void command_hold(int slot, const char *which) {
  bool any = strcmp(which, "any") == 0;
  pid_t want = any ? 0 : atoi(which);
  if (!any && (want <= 1 || want >= pid_max_open))
    return reply_error(slot, EINVAL, "hold PID or hold any");
  for (int tries = 0;; tries++) {
    pid_t pid = hold(want);
    if (pid < 0) return reply_error(slot, errno, "cannot hold this number");
    if (!any || (pid >= option.low && pid <= option.high) || tries == 3)
      return reply(slot, "ok %d", pid);
    kill(pid, SIGKILL); /* the range had just run out: rewind, try again; reaped like any other */
    keep_in_range();
  }
}

static void command_release(int slot, pid_t pid) {
  if (held_index(pid) < 0) return reply(slot, "ok");
  kill(pid, SIGKILL);
  clients[slot]->waits_for_reap = pid;
}

/* --- exits ---------------------------------------------------------------------------------- */

static void open_exits(void) {
  char path[PATH_MAX], old[PATH_MAX];
  snprintf(path, sizeof path, "%s/exits", option.node_dir);
  snprintf(old, sizeof old, "%s/exits.1", option.node_dir);
  if (exits_bytes >= exits_bytes_max) {
    close(exits_fd);
    rename(path, old);
    exits_bytes = 0;
  }
  exits_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (exits_fd < 0) die(path);
}

/* Start in clock ticks since boot: field 22, counted behind the last parenthesis of the name. */
static unsigned long long start_ticks(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at, NULL, 10) : 0;
}

static void record_exit(pid_t pid, const siginfo_t *info, const struct rusage *use) {
  char line[160];
  bool exited = info->si_code == CLD_EXITED;
  int n =
      snprintf(line, sizeof line, "%d %llu %d %d %lld %lld %ld\n", pid, start_ticks(pid),
               exited ? info->si_status : -1, exited ? 0 : info->si_status,
               (long long)use->ru_utime.tv_sec * 1000000 + use->ru_utime.tv_usec,
               (long long)use->ru_stime.tv_sec * 1000000 + use->ru_stime.tv_usec, use->ru_maxrss);
  if (write(exits_fd, line, (size_t)n) != n)
    say("cannot record the exit of %d: %s", pid, strerror(errno));
  exits_count++;
  if ((exits_bytes += (size_t)n) >= exits_bytes_max) open_exits();
}

static void reap(void) {
  for (;;) {
    siginfo_t info = {0};
    struct rusage use;
    /* The system call, not the library's: only it tells the usage of what it leaves in place. */
    if (syscall(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG, &use) < 0 ||
        info.si_pid == 0)
      return;
    pid_t pid = info.si_pid;
    int at = held_index(pid);
    if (at < 0 && pid != child_pid) record_exit(pid, &info, &use);
    waitpid(pid, NULL, __WALL);
    if (at >= 0) held[at] = held[--held_count];
    for (int i = 0; at >= 0 && i < clients_max; i++)
      if (clients[i] && clients[i]->waits_for_reap == pid) {
        clients[i]->waits_for_reap = 0;
        reply(i, "ok");
      }
    if (pid == child_pid) {
      child_pid = 0;
      respawn_ms = now_ms() - child_since_ms > 10000 ? respawn_min_ms : respawn_ms * 2;
      if (respawn_ms > respawn_max_ms) respawn_ms = respawn_max_ms;
      child_due_ms = ending ? 0 : now_ms() + respawn_ms;
      say("node services ended (%s %d), again in %d ms",
          info.si_code == CLD_EXITED ? "code" : "signal", info.si_status, respawn_ms);
    }
  }
}

/* --- the node's services -------------------------------------------------------------------- */

static bool interface_up(const char *name) {
  struct ifreq request = {0};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  bool up = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP);
  if (fd >= 0) close(fd);
  return up;
}

static void start_child(void) {
  if (net_wait_until_ms > 0 && !interface_up(option.wait_net)) {
    if (now_ms() > net_wait_until_ms) {
      errno = ETIMEDOUT;
      die(option.wait_net);
    }
    child_due_ms = now_ms() + 10;
    return;
  }
  net_wait_until_ms = 0;
  child_since_ms = now_ms();
  child_due_ms = 0;
  child_pid = fork();
  if (child_pid > 0) return;
  if (child_pid < 0) {
    child_pid = 0;
    child_due_ms = now_ms() + respawn_max_ms;
    return;
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  setrlimit(RLIMIT_RTTIME, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
  write_file("/proc/self/oom_score_adj", "0");
  execvp(option.child[0], option.child);
  die(option.child[0]);
}

/* --- commands ------------------------------------------------------------------------------- */

static void store(int slot, int fd, const char *path, const char *answer) {
  struct stored *entry = stored_count < stored_max ? malloc(sizeof *entry) : NULL;
  if (!entry) {
    close(fd);
    return reply_error(slot, ENFILE, "too many open descriptions");
  }
  entry->fd = fd;
  snprintf(entry->path, sizeof entry->path, "%s", path);
  stored[stored_count++] = entry;
  reply(slot, "ok %d%s%s", fd, *answer ? " " : "", answer);
}

/* Opened without ever waiting, as a FIFO would make it; O_NONBLOCK goes again where not asked for. */
static void command_open(int slot, const char *path, const char *flags) {
  bool reads = strchr(flags, 'r'), writes = strchr(flags, 'w'), nonblock = strchr(flags, 'n');
  int mode = reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
  if (strchr(flags, 'a')) mode |= O_APPEND;
  if (strchr(flags, 'c')) mode |= O_CREAT;
  int fd = open(path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
  if (fd < 0) return reply_error(slot, errno, path);
  if (!nonblock) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  store(slot, fd, path, "");
}

static void command_close(int slot, int fd) {
  for (int i = 0; i < stored_count; i++)
    if (stored[i]->fd == fd) {
      close(fd);
      free(stored[i]);
      stored[i] = stored[--stored_count];
      return reply(slot, "ok");
    }
  reply_error(slot, EBADF, "not one of those kept here");
}

static void command_pty(int slot, int rows, int cols) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
  char slave[64];
  int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, slave, sizeof slave)) {
    int number = errno;
    if (fd >= 0) close(fd);
    return reply_error(slot, number, "no terminal");
  }
  ioctl(fd, TIOCSWINSZ, &size);
  store(slot, fd, slave, slave);
}

static void list(int slot, bool files) {
  struct client *c = clients[slot];
  char text[PATH_MAX + 16];
  queue_text(c, "ok", 2);
  for (int i = 0; i < (files ? stored_count : held_count); i++) {
    int n = files ? snprintf(text, sizeof text, " %d %s", stored[i]->fd, stored[i]->path)
                  : snprintf(text, sizeof text, " %d", held[i]);
    queue_text(c, text, (size_t)n);
  }
  queue_text(c, "\n", 1);
  flush_client(slot);
}

static void command_status(int slot) {
  double left = deadline_ms - now_ms();
  reply(
      slot,
      "ok leaseMs=%.0f frozen=%d held=%d child=%d exits=%ld fds=%d pidmax=%ld low=%d high=%d v=%d",
      deadline_ms > 0 && left > 0 ? left : 0, frozen, held_count, child_pid, exits_count,
      stored_count, read_number(pid_max_fd), option.low, option.high, cgroup_v2 ? 2 : 1);
}

static void command_pidmax(int slot, bool open) {
  struct client *c = clients[slot];
  if (!open && c->pidmax_opens == 0)
    return reply_error(slot, EINVAL, "this connection did not open it");
  c->pidmax_opens += open ? 1 : -1;
  pidmax_opens += open ? 1 : -1;
  set_pid_max();
  reply(slot, "ok");
}

static void command(int slot, char *line) {
  char *word[4] = {"", "", "", ""}, *rest = line;
  int words = 0;
  for (char *w; words < 4 && (w = strsep(&rest, " "));)
    if (*w) word[words++] = w;
  const char *name = word[0];
  char *end = word[1];
  double number = strtod(word[1], &end);
  bool is_number = *word[1] && !*end;
  if (!strcmp(name, "lease") && is_number && number >= 0 && number <= 3600e3) {
    renew_lease(number > 0 ? now_ms() + number : 0);
    reply(slot, "ok");
  } else if (!strcmp(name, "lease-until") && is_number && number >= 0 &&
             number <= now_ms() + 3600e3) {
    renew_lease(number);
    reply(slot, "ok");
  } else if (!strcmp(name, "watch")) {
    clients[slot]->watching = true;
    reply(slot, "ok");
    reply(slot, "%s %.3f", frozen ? "frozen" : "thawed", now_ms());
  } else if (!strcmp(name, "kill")) {
    clients[slot]->waits_for_kill = true;
    pump_kill();
  } else if (!strcmp(name, "open") && words == 3) command_open(slot, word[1], word[2]);
  else if (!strcmp(name, "close") && is_number) command_close(slot, (int)number);
  else if (!strcmp(name, "fds")) list(slot, true);
  else if (!strcmp(name, "held")) list(slot, false);
  else if (!strcmp(name, "pty") && words == 3) command_pty(slot, (int)number, atoi(word[2]));
  else if (!strcmp(name, "hold") && words == 2) command_hold(slot, word[1]);
  else if (!strcmp(name, "release") && is_number) command_release(slot, (pid_t)number);
  else if (!strcmp(name, "pidmax") && words == 2 &&
           (!strcmp(word[1], "open") || !strcmp(word[1], "range")))
    command_pidmax(slot, word[1][0] == 'o');
  else if (!strcmp(name, "status")) command_status(slot);
  else reply_error(slot, EINVAL, "no such command");
}

/* --- connections ---------------------------------------------------------------------------- */

static void accept_client(void) {
  int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), slot = 0;
  if (fd < 0) return;
  while (slot < clients_max && clients[slot]) slot++;
  struct client *c = slot < clients_max ? calloc(1, sizeof *c) : NULL;
  if (!c) {
    close(fd);
    return;
  }
  c->fd = fd;
  clients[slot] = c;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)slot};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void drop_client(int slot) {
  struct client *c = clients[slot];
  clients[slot] = NULL;
  if (c->pidmax_opens > 0) {
    pidmax_opens -= c->pidmax_opens;
    set_pid_max();
  }
  close(c->fd);
  free(c->out);
  free(c);
}

/* Whole lines in order; one that waits for something holds back those behind it. */
static void run_lines(int slot) {
  struct client *c = clients[slot];
  char *end, line[line_max];
  while (!c->waits_for_kill && !c->waits_for_reap && (end = memchr(c->in, '\n', c->in_length))) {
    size_t length = (size_t)(end - c->in);
    memcpy(line, c->in, length);
    line[length] = 0;
    c->in_length -= length + 1;
    memmove(c->in, end + 1, c->in_length);
    command(slot, line);
  }
}

static void read_client(int slot) {
  struct client *c = clients[slot];
  if (c->in_length == line_max) {
    if (c->waits_for_kill || c->waits_for_reap) return; /* level-triggered: it comes again */
    return drop_client(slot);
  }
  ssize_t n = recv(c->fd, c->in + c->in_length, line_max - c->in_length, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return drop_client(slot);
  if (n > 0) c->in_length += (size_t)n;
  run_lines(slot);
}

static void listen_for_clients(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/guard.sock", option.node_dir);
  unlink(address.sun_path);
  listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  mode_t mask = umask(0177);
  if (bind(listen_fd, (struct sockaddr *)&address, sizeof address) || listen(listen_fd, 64))
    die(address.sun_path);
  umask(mask);
}

/* --- start ---------------------------------------------------------------------------------- */

static void try_mount(const char *source, const char *target, const char *type, unsigned long flags,
                      const char *data) {
  if (mount(source, target, type, flags, data) != 0) die(target);
}

static bool is_mount(const char *path) {
  struct stat here, above;
  char parent[PATH_MAX];
  snprintf(parent, sizeof parent, "%s/..", path);
  return stat(path, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

/* criu keeps what it learned of the kernel in /run, 20 ms of every dump and restore, but trusts only a
 * tmpfs there. Where /run is none, the node gets one, with all that is in the machine's mounted in it. */
static void make_run(void) {
  const char *staged = option.node_dir; /* a folder that is there, and free until the end of this */
  struct statfs fs;
  char from[PATH_MAX], to[PATH_MAX], link[PATH_MAX];
  if (statfs("/run", &fs) != 0 || fs.f_type == TMPFS_MAGIC) return;
  try_mount("ssi-run", staged, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m");
  DIR *run = opendir("/run");
  for (struct dirent *entry; run && (entry = readdir(run));) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..") || !strncmp(name, "criu.kdat", 9)) continue;
    snprintf(from, sizeof from, "/run/%.255s", name);
    snprintf(to, sizeof to, "%s/%.255s", staged, name);
    if (entry->d_type == DT_LNK) {
      ssize_t n = readlink(from, link, sizeof link - 1);
      if (n > 0 && (link[n] = 0, symlink(link, to)) != 0) say("no link %s", to);
      continue;
    }
    if (entry->d_type == DT_DIR) mkdir(to, 0755);
    else close(open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    /* Not recursively: the staging place itself is among them. What went away meanwhile is not missed. */
    if (mount(from, to, NULL, MS_BIND, NULL) != 0 && errno != ENOENT) die(to);
  }
  if (run) closedir(run);
  try_mount(staged, "/run", NULL, MS_MOVE, NULL);
}

static void make_mounts(void) {
  if (option.unshare) {
    try_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    try_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    try_mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
              "newinstance,ptmxmode=0666,mode=0620,gid=5");
    struct stat link;
    if (lstat("/dev/ptmx", &link) == 0 && !S_ISLNK(link.st_mode))
      try_mount("/dev/pts/ptmx", "/dev/ptmx", NULL, MS_BIND, NULL);
    mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  }
  make_folders(
      option.node_dir); /* in the machine's own /run, so that there is a place to mount on */
  if (option.unshare) make_run();
  if (option.unshare || !is_mount(option.node_dir))
    try_mount("ssi-node", option.node_dir, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=75%");
}

static void loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
    request.ifr_flags |= IFF_UP;
    ioctl(fd, SIOCSIFFLAGS, &request);
  }
  close(fd);
}

/* From 6.14 on pid_max belongs to the pid namespace; before, writing it would change the machine's. */
static bool kernel_has_own_pid_max(void) {
  struct utsname name;
  int major = 0, minor = 0;
  uname(&name);
  sscanf(name.release, "%d.%d", &major, &minor);
  return major > 6 || (major == 6 && minor >= 14);
}

static void take_range(void) {
  last_pid_fd = open("/proc/sys/kernel/ns_last_pid", O_RDWR | O_CLOEXEC);
  if (last_pid_fd < 0 && errno == EROFS) { /* a container without systempaths=unconfined */
    mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL);
    last_pid_fd = open("/proc/sys/kernel/ns_last_pid", O_RDWR | O_CLOEXEC);
  }
  if (last_pid_fd < 0) die("/proc/sys/kernel/ns_last_pid");
  pid_max_fd = open("/proc/sys/kernel/pid_max", O_RDWR | O_CLOEXEC);
  pid_max_is_ours = kernel_has_own_pid_max() && pid_max_fd >= 0;
  set_pid_max();
  keep_in_range();
}

/* Should it ever run wild, it must not take the machine with it: after a second without a rest it goes
 * on at ordinary priority. [setrlimit(2): RLIMIT_RTTIME] */
static void step_down(int signal) {
  (void)signal;
  sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &(struct sched_param){0});
}

/* Never behind what it guards; nothing of this is handed down to children. */
static void rise(void) {
  struct sched_param parameter = {.sched_priority = 50};
  struct rlimit rest = {1000000, RLIM_INFINITY}; /* us; the hard limit would kill */
  signal(SIGXCPU, step_down);
  setrlimit(RLIMIT_RTTIME, &rest);
  if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) != 0) {
    parameter.sched_priority = 0;
    if (setpriority(PRIO_PROCESS, 0, -20) != 0)
      say("runs at ordinary priority: %s", strerror(errno));
    sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &parameter);
  }
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) say("memory not locked: %s", strerror(errno));
  write_file("/proc/self/oom_score_adj", "-1000");
}

static void clean_descriptors(int keep) {
  int null = open("/dev/null", O_RDWR);
  dup2(null, STDIN_FILENO);
  if (option.unshare)
    dup2(STDERR_FILENO, STDOUT_FILENO); /* whoever reads our stdout sees its end */
  if (keep > 3) syscall(SYS_close_range, 3, (unsigned)keep - 1, 0);
  syscall(SYS_close_range, keep >= 3 ? (unsigned)keep + 1 : 3, ~0U, 0);
}

/* Makes the namespaces and the node's pid 1 in them. Returns in pid 1; this process waits until that
 * one is ready, prints its pid as seen here, and is done. */
static int fork_into_namespaces(void) {
  int ready[2];
  char byte;
  if (pipe2(ready, O_CLOEXEC) != 0) die("pipe");
  int net = option.host_net ? 0 : CLONE_NEWNET; /* a real machine keeps its own network */
  if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | net) != 0) die("unshare");
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    close(ready[0]);
    setsid();
    return ready[1];
  }
  close(ready[1]);
  if (read(ready[0], &byte, 1) != 1) {
    waitpid(pid, NULL, 0);
    _exit(1); /* it said why */
  }
  if (option.state_file) {
    /* The mount namespace is shared with pid 1, and so is its /proc: it is 1 there. */
    int fd = open(option.state_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || dprintf(fd, "%d %llu\n", pid, start_ticks(1)) < 0) {
      kill(pid, SIGKILL);
      die(option.state_file);
    }
  }
  printf("%d\n", pid);
  fflush(stdout);
  _exit(0);
}

static void usage(void) {
  fputs(
      "usage: ssi-guard --num K --name HOST --cgroup DIR [--pid-bits 16] [--pid-low N --pid-high "
      "N]\n"
      "         [--node-dir DIR] [--services-cgroup DIR] [--unshare | --host-net] [--state FILE] [--wait-net "
      "IF] -- CHILD...\n",
      stderr);
  exit(2);
}

static void parse(int count, char **argument) {
  int i = 1;
  for (; i < count && strcmp(argument[i], "--"); i++) {
    const char *name = argument[i];
    if (!strcmp(name, "--unshare") || !strcmp(name, "--host-net")) {
      option.unshare = true;
      option.host_net |= !strcmp(name, "--host-net");
      continue;
    }
    if (i + 1 >= count) usage();
    char *value = argument[++i];
    if (!strcmp(name, "--num")) option.num = atoi(value);
    else if (!strcmp(name, "--name")) option.name = value;
    else if (!strcmp(name, "--pid-bits")) option.pid_bits = atoi(value);
    else if (!strcmp(name, "--pid-low")) option.low = atoi(value);
    else if (!strcmp(name, "--pid-high")) option.high = atoi(value);
    else if (!strcmp(name, "--node-dir")) option.node_dir = value;
    else if (!strcmp(name, "--cgroup")) option.cgroup = value;
    else if (!strcmp(name, "--services-cgroup")) option.services_cgroup = value;
    else if (!strcmp(name, "--state")) option.state_file = value;
    else if (!strcmp(name, "--wait-net")) option.wait_net = value;
    else usage();
  }
  option.child = argument + i + 1;
  if (i >= count - 1 || option.num < 1 || !option.cgroup || option.pid_bits < 10 ||
      option.pid_bits > 16)
    usage();
  if (!option.low) option.low = option.num << option.pid_bits;
  if (!option.high) option.high = ((option.num + 1) << option.pid_bits) - 1;
  if (option.low < 301 || option.high <= option.low || option.high >= pid_max_open) usage();
}

static void watch_fd(int fd, uint32_t key) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = key};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

enum { key_signal = clients_max, key_lease, key_listen };

static void handle_signals(void) {
  struct signalfd_siginfo info;
  while (read(signal_fd, &info, sizeof info) == sizeof info)
    if (info.ssi_signo != SIGCHLD && !ending) {
      ending = true;
      child_due_ms = 0;
      if (child_pid > 0) kill(child_pid, SIGKILL);
      pump_kill();
    }
  reap();
}

static void handle_lease(void) {
  uint64_t fired;
  if (read(lease_fd, &fired, sizeof fired) > 0 && deadline_ms > 0 && now_ms() >= deadline_ms) {
    deadline_ms = 0;
    set_frozen(true);
  }
}

static int next_wait_ms(void) {
  double due = last_pid_due_ms, now = now_ms();
  if (child_due_ms > 0 && child_due_ms < due) due = child_due_ms;
  if (kill_due_ms > 0 && kill_due_ms < due) due = kill_due_ms;
  return due <= now ? 0 : (int)(due - now) + 1;
}

__attribute__((noreturn)) static void serve(void) {
  struct epoll_event events[16];
  for (;;) {
    int n = epoll_wait(epoll_fd, events, 16, next_wait_ms());
    for (int i = 0; i < n; i++) {
      uint32_t key = events[i].data.u32;
      if (key == key_lease) handle_lease();
      else if (key == key_signal) handle_signals();
      else if (key == key_listen) accept_client();
      else if (clients[key]) {
        if (events[i].events & EPOLLOUT) flush_client((int)key);
        if (events[i].events & ~(uint32_t)EPOLLOUT) read_client((int)key);
      }
    }
    double now = now_ms();
    if (now >= last_pid_due_ms) keep_in_range();
    if (kill_due_ms > 0 && now >= kill_due_ms) pump_kill();
    if (child_due_ms > 0 && now >= child_due_ms && !ending) start_child();
    for (int i = 0; i < clients_max; i++)
      if (clients[i] && clients[i]->in_length > 0) run_lines(i); /* held back until now */
  }
}

int main(int count, char **argument) {
  sigset_t signals;
  int ready = -1;
  parse(count, argument);
  if (option.unshare) ready = fork_into_namespaces();
  else if (getpid() != 1) {
    fputs("ssi-guard: must be pid 1 of its namespace, or make one with --unshare\n", stderr);
    return 1;
  }
  clean_descriptors(ready);
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  make_mounts();
  if (option.name && sethostname(option.name, strlen(option.name)) != 0) die("sethostname");
  loopback_up();
  open_cgroup();
  take_range();
  open_exits();
  lease_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  listen_for_clients();
  set_frozen(true);
  watch_fd(signal_fd, key_signal);
  watch_fd(lease_fd, key_lease);
  watch_fd(listen_fd, key_listen);
  if (option.wait_net) net_wait_until_ms = now_ms() + net_wait_ms;
  child_due_ms = now_ms();
  rise();
  if (ready >= 0 && (write(ready, "", 1) != 1 || close(ready) != 0)) die("ready");
  serve();
}
