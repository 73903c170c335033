/*
 * ssi-spawn: starts a program in a node, as child of the node's pid 1 and leader of its own session,
 * with nothing of its starter but the environment. Prints `PID STARTTICKS` once execve(2) succeeded, or
 * `error ERRNO text` and ends with 1. [proc_pid_stat(5): starttime]
 *
 *   ssi-spawn [--ns PID] [--cgroup PROCSFILE]... [--pid N] [--uid U --gid G] [--cwd D]
 *             [--in PATH] [--out PATH] [--err PATH] [--tty PATH] [--fd N=PATH:FLAGS]... [--io-uring]
 *             [--private-ipc] [--stopped] -- CMD ARGS...
 *
 *   ssi-spawn --serve      starts one for each request on standard input, a child of its own at a time: a fork of
 *                          its starter, which is large, would take longer than all the rest
 *
 * A request is its length (32 bits), then strings that end in 0: an id, the number of arguments, those, and the
 * environment. What is printed for it is one line, the id before it.
 * --ns enters the namespaces of that process (seen from here); --cgroup may be given several times (v1);
 * --stopped leaves it stopped by SIGSTOP, execve(2) done and no instruction of the program executed.
 * FLAGS: r w rw, a append, n nonblock.
 * io_uring_setup(2) gives ENOSYS unless --io-uring is given: criu cannot dump a ring, and programs do without.
 * --private-ipc: an IPC namespace of its own, which criu carries whole. [ipc_namespaces(7)]
 * A descriptor not named is /dev/null; every path is opened inside the node, so that criu can name it.
 * [clone3(2), setns(2), credentials(7), seccomp(2)]
 *
 * cc -std=c11 -O2 -Wall -Wextra -o ssi-spawn spawn.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { cgroups_max = 16, files_max = 64, high_fd = 700, serve_s = 8 };

struct file {
  int target;
  const char *path;
  int flags;
};

static struct {
  pid_t ns, pid;
  long uid, gid;
  const char *cwd, *tty;
  bool stopped, io_uring, private_ipc;
  char **command;
} option = {.uid = -1, .gid = -1, .cwd = "/"};
static const char *cgroups[cgroups_max];
static int cgroup_fds[cgroups_max], cgroup_count;
static struct file files[files_max] = {
    {0, "/dev/null", O_RDONLY}, {1, "/dev/null", O_WRONLY}, {2, "/dev/null", O_WRONLY}};
static int file_count = 3;

/* What goes wrong in the child comes back over a close-on-exec pipe; nothing: it runs. */
struct failure {
  int number;
  char what[256];
};
static int report_fd = -1;
static const char *request_id = "";

static void tell(const struct failure *failure) {
  char line[sizeof failure->what];
  const char *name = strerrorname_np(failure->number);
  snprintf(line, sizeof line, "%s", failure->what);
  for (char *at = line; (at = strchr(at, '\n')); *at = ' ') continue;
  printf("%serror %s %s\n", request_id, name ? name : "EIO", line);
  fflush(stdout);
}

__attribute__((noreturn)) static void fail_with(int number, const char *what) {
  struct failure failure = {.number = number};
  snprintf(failure.what, sizeof failure.what, "%s: %s", what, strerror(number));
  if (report_fd >= 0) {
    if (write(report_fd, &failure, sizeof failure) < 0) _exit(2);
  } else {
    tell(&failure);
  }
  _exit(1);
}
#define need(call, what)                    \
  do {                                      \
    if ((call) < 0) fail_with(errno, what); \
  } while (0)

static int open_flags(const char *text) {
  bool reads = strchr(text, 'r'), writes = strchr(text, 'w');
  int flags = reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
  if (strchr(text, 'a')) flags |= O_APPEND;
  if (strchr(text, 'n')) flags |= O_NONBLOCK;
  return flags;
}

static void parse(int count, char **argument) {
  int i = 1;
  for (; i < count && strcmp(argument[i], "--"); i++) {
    const char *name = argument[i];
    if (!strcmp(name, "--stopped")) {
      option.stopped = true;
      continue;
    }
    if (!strcmp(name, "--io-uring")) {
      option.io_uring = true;
      continue;
    }
    if (!strcmp(name, "--private-ipc")) {
      option.private_ipc = true;
      continue;
    }
    if (i + 1 >= count) fail_with(EINVAL, name);
    char *value = argument[++i];
    if (!strcmp(name, "--ns")) option.ns = atoi(value);
    else if (!strcmp(name, "--pid")) option.pid = atoi(value);
    else if (!strcmp(name, "--uid")) option.uid = atol(value);
    else if (!strcmp(name, "--gid")) option.gid = atol(value);
    else if (!strcmp(name, "--cwd")) option.cwd = value;
    else if (!strcmp(name, "--tty")) option.tty = value;
    else if (!strcmp(name, "--in")) files[0].path = value;
    else if (!strcmp(name, "--out")) files[1].path = value;
    else if (!strcmp(name, "--err")) files[2].path = value;
    else if (!strcmp(name, "--cgroup")) {
      if (cgroup_count == cgroups_max) fail_with(E2BIG, name);
      cgroups[cgroup_count++] = value;
    } else if (!strcmp(name, "--fd")) {
      char *path = strchr(value, '='), *flags = strrchr(value, ':');
      if (!path || !flags || flags < path || file_count == files_max || atoi(value) < 0 ||
          atoi(value) >= high_fd)
        fail_with(EINVAL, value);
      *path++ = *flags++ = 0;
      files[file_count++] = (struct file){atoi(value), path, open_flags(flags)};
    } else fail_with(EINVAL, name);
  }
  option.command = argument + i + 1;
  if (i >= count - 1) fail_with(EINVAL, "no command");
}

/* Cgroups are opened before the node is entered: outside, the paths are sure to be there. */
static void open_cgroups(void) {
  for (int i = 0; i < cgroup_count; i++)
    need(cgroup_fds[i] = open(cgroups[i], O_WRONLY | O_CLOEXEC), cgroups[i]);
}

static void enter_namespaces(void) {
  static const struct {
    const char *name;
    int type;
  } kinds[] = {{"pid", CLONE_NEWPID},
               {"net", CLONE_NEWNET},
               {"ipc", CLONE_NEWIPC},
               {"uts", CLONE_NEWUTS},
               {"mnt", CLONE_NEWNS}};
  char path[64], mine[64];
  int fds[5];
  struct stat theirs_stat, mine_stat;
  for (int i = 0; i < 5; i++) {
    snprintf(path, sizeof path, "/proc/%d/ns/%s", option.ns, kinds[i].name);
    snprintf(mine, sizeof mine, "/proc/self/ns/%s", kinds[i].name);
    need(fds[i] = open(path, O_RDONLY | O_CLOEXEC), path);
    need(fstat(fds[i], &theirs_stat), path);
    need(stat(mine, &mine_stat), mine);
    if (theirs_stat.st_ino == mine_stat.st_ino) close(fds[i]), fds[i] = -1;
  }
  for (int i = 0; i < 5; i++)
    if (fds[i] >= 0) need(setns(fds[i], kinds[i].type), kinds[i].name);
}

/* Ordinary in every respect that exec keeps: what the starter had set for itself must not be handed on. */
static void be_ordinary(void) {
  struct sched_param parameter = {0};
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigset_t none;
  for (int s = 1; s <= SIGRTMAX; s++) sigaction(s, &action, NULL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  sched_setscheduler(0, SCHED_OTHER, &parameter);
  setpriority(PRIO_PROCESS, 0, 0);
  umask(022);
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd >= 0 && write(fd, "0", 1) < 0)
    errno = 0; /* lowering it may be refused: it stays as it is */
  if (fd >= 0) close(fd);
}

/* All opened above the numbers that are asked for, then put in place: no order can clobber another. */
static void place_files(void) {
  int fds[files_max];
  for (int i = 0; i < file_count; i++) {
    const char *path = option.tty && i < 3 ? option.tty : files[i].path;
    int flags = option.tty && i < 3 ? O_RDWR : files[i].flags;
    /* Never waits, as opening a FIFO may: without a writer its reader is at the end of file. */
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    need(fd, path);
    if (!(flags & O_NONBLOCK)) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    if (option.tty && i == 0) {
      need(ioctl(fd, TIOCSCTTY, 0), path);
      if (option.uid > 0 && fchown(fd, (uid_t)option.uid, (gid_t)-1) != 0) fail_with(errno, path);
    }
    /* One description for the whole terminal, as a login would give it. */
    if (option.tty && (i == 1 || i == 2)) close(fd), fd = fds[0];
    need(fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, high_fd), path);
    if (fd < high_fd) close(fd);
  }
  for (int i = 0; i < file_count; i++) need(dup2(fds[i], files[i].target), files[i].path);
  syscall(SYS_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
  for (int i = 3; i < file_count; i++) fcntl(files[i].target, F_SETFD, 0);
}

/*
 * By CAP_SYS_ADMIN instead of no_new_privs, so that setuid programs below stay what they are; ENOSYS gives
 * them no other kernel than many have. From Linux 5.1 on a call's number is the same on every architecture.
 */
static void refuse_io_uring(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
  need((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter), "seccomp");
}

static void take_identity(void) {
  if (option.gid >= 0) {
    struct passwd *user = option.uid >= 0 ? getpwuid((uid_t)option.uid) : NULL;
    if (user) need(initgroups(user->pw_name, (gid_t)option.gid), "initgroups");
    else need(setgroups(1, &(gid_t){(gid_t)option.gid}), "setgroups");
    need(setresgid((gid_t)option.gid, (gid_t)option.gid, (gid_t)option.gid), "setgid");
  }
  if (option.uid >= 0)
    need(setresuid((uid_t)option.uid, (uid_t)option.uid, (uid_t)option.uid), "setuid");
}

__attribute__((noreturn)) static void run(int go_fd) {
  char byte;
  pid_t parent = getppid();
  ssize_t told = read(go_fd, &byte, 1); /* its end: the parent is ending; a byte: it traces this */
  if (told < 0) fail_with(errno, "pipe");
  struct timespec pause = {.tv_nsec = 200000};
  for (int i = 0; told == 0 && i < 10000 && parent != 1 && getppid() == parent; i++) nanosleep(&pause, NULL);
  for (int i = 0; i < cgroup_count; i++)
    if (write(cgroup_fds[i], "0", 1) < 0) fail_with(errno, cgroups[i]);
  setsid();
  be_ordinary();
  place_files();
  if (option.private_ipc) need(unshare(CLONE_NEWIPC), "IPC namespace");
  if (!option.io_uring) refuse_io_uring();
  take_identity();
  need(chdir(option.cwd), option.cwd);
  execvp(option.command[0], option.command);
  fail_with(errno, option.command[0]);
}

static pid_t clone_child(bool numbered) {
  pid_t set_tid[1] = {option.pid};
  struct clone_args args = {.exit_signal = SIGCHLD};
  if (numbered && option.pid) {
    args.set_tid = (uint64_t)(uintptr_t)set_tid;
    args.set_tid_size = 1;
  }
  return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* Traced over its execve, so that the pending SIGSTOP is the first thing that the new program meets. */
static void stop_at_exec(pid_t pid, int go_fd) {
  int status;
  need(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL), "seize");
  need((int)write(go_fd, "", 1), "pipe");
  for (;;) {
    if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) return; /* its report says why */
    if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8))) break;
    need((int)ptrace(PTRACE_CONT, pid, 0, status >> 16 ? 0 : WSTOPSIG(status)), "continue");
  }
  need(kill(pid, SIGSTOP), "stop");
  need((int)ptrace(PTRACE_DETACH, pid, 0, 0), "detach");
  waitpid(pid, &status, WUNTRACED | __WALL);
}

/* Read before it may run: afterwards it may have ended and be gone. */
struct born {
  pid_t pid;
  unsigned long long start_ticks;
};
static unsigned long long start_of(pid_t pid) {
  char path[32], text[1024], *field;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
  field = strrchr(text, ')'); /* ends the second field; starttime is the 22nd */
  for (int i = 2; field && i < 22; i++) field = strchr(field + 1, ' ');
  return field ? strtoull(field, NULL, 10) : 0;
}

/* The step between: in the node's pid namespace, so that its death hands the program to pid 1. */
__attribute__((noreturn)) static void fork_program(int pid_fd) {
  int go[2];
  need(pipe2(go, O_CLOEXEC), "pipe");
  pid_t pid = clone_child(true);
  need(pid, "clone3");
  if (pid == 0) {
    close(go[1]);
    close(pid_fd);
    run(go[0]);
  }
  struct born born = {pid, start_of(pid)};
  if (born.start_ticks == 0 || write(pid_fd, &born, sizeof born) != sizeof born) {
    kill(pid, SIGKILL);
    fail_with(EIO, "/proc");
  }
  if (option.stopped) stop_at_exec(pid, go[1]);
  _exit(0);
}

static int spawn_one(int count, char **argument) {
  int report[2], pids[2];
  struct born born;
  struct failure failure;
  parse(count, argument);
  open_cgroups();
  if (option.ns > 0) enter_namespaces();
  if (pipe2(report, O_CLOEXEC) != 0 || pipe2(pids, O_CLOEXEC) != 0) fail_with(errno, "pipe");
  pid_t child = clone_child(false);
  need(child, "clone3");
  if (child == 0) {
    report_fd = fcntl(report[1], F_DUPFD_CLOEXEC, high_fd + files_max);
    close(report[1]);
    fork_program(pids[1]);
  }
  close(report[1]);
  close(pids[1]);
  if (read(pids[0], &born, sizeof born) != sizeof born) born.pid = 0;
  waitpid(child, NULL, 0);
  if (read(report[0], &failure, sizeof failure) == sizeof failure) {
    report_fd = -1;
    tell(&failure);
    return 1;
  }
  if (born.pid <= 0) fail_with(ESRCH, "the program was killed before it ran");
  printf("%s%d %llu\n", request_id, born.pid, born.start_ticks);
  return 0;
}

static bool read_all(void *into, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = read(0, (char *)into + done, length - done);
    if (n <= 0) return false;
    done += (size_t)n;
  }
  return true;
}

/* In the child that is for this request. */
static int serve_one(char *body, size_t length) {
  static char prefix[32];
  char **words = calloc(length + 3, sizeof *words);
  int count = 0;
  if (!words || length == 0 || body[length - 1] != 0) fail_with(EINVAL, "request");
  for (char *at = body; at < body + length; at += strlen(at) + 1) words[count++] = at;
  snprintf(prefix, sizeof prefix, "%s ", words[0]);
  request_id = prefix;
  int arguments = count > 1 ? atoi(words[1]) : -1;
  if (arguments < 0 || arguments > count - 2) fail_with(EINVAL, "request");
  environ = words + 2 + arguments;
  /* What stands before the environment are the arguments: they get an end of their own. */
  char **own = calloc((size_t)arguments + 2, sizeof *own);
  if (!own) fail_with(ENOMEM, "request");
  own[0] = words[0];
  memcpy(own + 1, words + 2, (size_t)arguments * sizeof *own);
  signal(SIGCHLD, SIG_DFL);
  alarm(serve_s);
  return spawn_one(arguments + 1, own);
}

static int serve(void) {
  uint32_t length;
  signal(SIGCHLD, SIG_IGN);
  while (read_all(&length, sizeof length)) {
    char *body = malloc(length);
    if (!body || !read_all(body, length)) return 1;
    pid_t pid = fork();
    if (pid == 0) return serve_one(body, length);
    if (pid < 0) {
      const struct failure failure = {EAGAIN, "fork"};
      char prefix[32];
      snprintf(prefix, sizeof prefix, "%s ", body);
      request_id = prefix;
      tell(&failure);
    }
    free(body);
  }
  return 0;
}

int main(int count, char **argument) {
  if (count == 2 && !strcmp(argument[1], "--serve")) return serve();
  return spawn_one(count, argument);
}
