/*
 * ssi-stub: stands in for a child that moved to another node while its parent stayed. The stopped copy is
 * not killed but made to execve this program: pid, parent, group and session stay, memory and descriptors
 * are gone, and the parent's own wait(2) gets what the process did elsewhere.
 *
 *   ssi-stub --replace PID FILE     makes PID execute `ssi-stub --stand FILE` (by ptrace)
 *   ssi-stub --stand FILE           waits; a signal sent to it is appended to FILE as `PID SIGNAL SENDER`
 *   ssi-stub --session S G -- CMD  runs CMD in a new session S, group G: where a child is restored whose own
 *                                  session stays behind; gives its exit code
 *   ssi-stub --end PID code N       the stub exits with N | --end PID signal N: dies of that signal
 *
 * [ptrace(2), wait(2)]
 * cc -std=c11 -O2 -Wall -Wextra -o ssi-stub stub.c
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { steps_max = 64, by_signal = 256 };
#define end_signal (SIGRTMIN + 1)

__attribute__((noreturn)) static void fail(const char *what) {
  const char *name = strerrorname_np(errno);
  printf("error %s %s: %s\n", name ? name : "EIO", what, strerror(errno));
  exit(1);
}

/* --- what it is once it stands in -------------------------------------------------------------- */

__attribute__((noreturn)) static void end_as(int how) {
  if (how < by_signal) _exit(how);
  struct rlimit no_core = {0, 0}; /* the real one dumped its core elsewhere, if it did */
  sigset_t just;
  setrlimit(RLIMIT_CORE, &no_core);
  signal(how - by_signal, SIG_DFL);
  sigemptyset(&just);
  sigaddset(&just, how - by_signal);
  raise(how - by_signal);
  sigprocmask(SIG_UNBLOCK, &just, NULL);
  _exit(128 + how - by_signal);
}

__attribute__((noreturn)) static void stand(const char *path) {
  sigset_t all;
  char line[96];
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  /* The real one's children went with it: what is left of them here is reaped. */
  signal(SIGCHLD, SIG_IGN);
  while (waitpid(-1, NULL, WNOHANG) > 0) continue;
  syscall(SYS_close_range, 0, ~0U, 0);
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (chdir("/") != 0) errno = 0;
  prctl(PR_SET_NAME, "ssi-stub");
  for (;;) {
    siginfo_t info;
    int number = sigwaitinfo(&all, &info);
    if (number < 0) continue;
    if (number == end_signal && info.si_code == SI_QUEUE) end_as(info.si_value.sival_int);
    if (number == SIGCONT || info.si_code > 0) continue; /* the kernel's, not somebody's kill(2) */
    int n = snprintf(line, sizeof line, "%d %d %d\n", getpid(), number, info.si_pid);
    if (fd >= 0 && write(fd, line, (size_t)n) < 0) continue;
  }
}

/* --- how it gets there ------------------------------------------------------------------------- */

#if defined(__x86_64__)
typedef struct user_regs_struct registers;
static const unsigned char trap[] = {0x0f, 0x05}; /* syscall */
static unsigned long stack_of(const registers *r) {
  return r->rsp;
}
static unsigned long code_of(const registers *r) {
  return r->rip;
}
static void set_call(registers *r, unsigned long number, unsigned long a, unsigned long b,
                     unsigned long c, unsigned long stack) {
  r->rax = number, r->orig_rax = (unsigned long)-1, r->rdi = a, r->rsi = b, r->rdx = c,
  r->rsp = stack;
}
static bool is_64_bit(const registers *r) {
  return r->cs == 0x33;
}
#elif defined(__aarch64__)
typedef struct user_regs_struct registers;
static const unsigned char trap[] = {0x01, 0x00, 0x00, 0xd4}; /* svc #0 */
static unsigned long stack_of(const registers *r) {
  return r->sp;
}
static unsigned long code_of(const registers *r) {
  return r->pc;
}
static void set_call(registers *r, unsigned long number, unsigned long a, unsigned long b,
                     unsigned long c, unsigned long stack) {
  r->regs[8] = number, r->regs[0] = a, r->regs[1] = b, r->regs[2] = c, r->sp = stack;
}
static bool is_64_bit(const registers *r) {
  return (r->pstate & 0x10) == 0;
}
#else
#error "x86_64 and aarch64 only"
#endif

static void poke(pid_t pid, unsigned long address, const void *bytes, size_t length) {
  const unsigned char *from = bytes;
  for (size_t i = 0; i < length; i += 8) {
    size_t part = length - i < 8 ? length - i : 8;
    long word = 0;
    errno = 0;
    if (part < 8) word = ptrace(PTRACE_PEEKDATA, pid, address + i, 0);
    if (errno) fail("read its memory");
    memcpy(&word, from + i, part);
    if (ptrace(PTRACE_POKEDATA, pid, address + i, word) != 0) fail("write its memory");
  }
}

static void replace(pid_t pid, const char *file) {
  char self[PATH_MAX];
  int status;
  registers r;
  struct iovec vector = {&r, sizeof r};
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) fail("/proc/self/exe");
  self[n] = 0;
  if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXEC) != 0) fail("seize");
  if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0 || waitpid(pid, &status, __WALL) != pid)
    fail("interrupt");
  if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &vector) != 0) fail("registers");
  if (!is_64_bit(&r)) errno = ENOEXEC, fail("a 32-bit program");

  /* Strings and vectors below the stack, out of reach of what the ABI lets it keep there. */
  const char *words[3] = {self, "--stand", file};
  unsigned long at = (stack_of(&r) - 3 * PATH_MAX) & ~63UL, vector_at = at, table[5] = {0},
                string_at = at + sizeof table;
  for (int i = 0; i < 3; i++) {
    table[i] = string_at;
    poke(pid, string_at, words[i], strlen(words[i]) + 1);
    string_at += (strlen(words[i]) + 8) & ~7UL;
  }
  poke(pid, vector_at, table,
       sizeof table); /* argv ends at [3]; [4] is an environment without entries */
  poke(pid, code_of(&r), trap, sizeof trap);
  set_call(&r, SYS_execve, table[0], vector_at, vector_at + 4 * sizeof *table, (at - 1024) & ~63UL);
#if defined(__aarch64__)
  int none = -1; /* else an interrupted call would be restarted over these registers */
  struct iovec call = {&none, sizeof none};
  ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &call);
#endif
  if (ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &vector) != 0) fail("registers");
  kill(pid, SIGCONT);
  for (int step = 0; step < steps_max; step++) {
    if (ptrace(PTRACE_CONT, pid, 0, 0) != 0 || waitpid(pid, &status, __WALL) != pid)
      fail("continue");
    if (WIFEXITED(status) || WIFSIGNALED(status)) errno = ESRCH, fail("it ended");
    if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8))) {
      /* Blocked before its first instruction: a word to end may come before it could do so itself. */
      uint64_t all = ~0ULL;
      if (ptrace(PTRACE_SETSIGMASK, pid, sizeof all, &all) != 0) fail("signal mask");
      if (ptrace(PTRACE_DETACH, pid, 0, 0) != 0) fail("detach");
      kill(pid, SIGCONT);
      printf("%d\n", pid);
      return;
    }
    if (WIFSTOPPED(status) && (WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGILL)) break;
  }
  /* execve refused (no right to this program, another root): the copy is spoilt, and was to die anyway. */
  kill(pid, SIGKILL);
  errno = EIO;
  fail("it could not execute the stub");
}

/* --- a session for a restore --------------------------------------------------------------------- */

static pid_t clone_as(pid_t pid) {
  pid_t set_tid[1] = {pid};
  struct clone_args args = {.exit_signal = SIGCHLD};
  if (pid) args.set_tid = (uint64_t)(uintptr_t)set_tid, args.set_tid_size = 1;
  return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/*
 * The leader ends before CMD begins: were it CMD's parent to the end, CMD's end would leave an orphaned
 * group with stopped members, and the kernel would wake them with SIGHUP. [setpgid(2), exit(3)]
 */
static int in_session(pid_t session, pid_t group, char **command) {
  int go[2], status;
  char byte;
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || pipe2(go, O_CLOEXEC) != 0) fail("session");
  pid_t leader = clone_as(session);
  if (leader < 0) fail("session");
  if (leader == 0) {
    if (setsid() < 0) _exit(126);
    pid_t pid = clone_as(group == session ? 0 : group);
    if (pid != 0) _exit(pid < 0 ? 126 : 0);
    close(go[1]);
    if (read(go[0], &byte, 1) < 0 || (group != session && setpgid(0, 0) != 0)) _exit(126);
    execv(command[0], command);
    _exit(127);
  }
  if (waitpid(leader, &status, 0) != leader || status != 0) errno = EAGAIN, fail("session leader");
  close(go[1]);
  /* CMD is now ours; what it leaves behind when it ends is not waited for. */
  if (waitpid(-1, &status, 0) < 0) fail("wait");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char **argument) {
  if (count == 3 && !strcmp(argument[1], "--stand")) stand(argument[2]);
  if (count == 4 && !strcmp(argument[1], "--replace")) {
    replace(atoi(argument[2]), argument[3]);
    return 0;
  }
  if (count > 5 && !strcmp(argument[1], "--session"))
    return in_session(atoi(argument[2]), atoi(argument[3]), argument + 5);
  if (count == 5 && !strcmp(argument[1], "--end")) {
    bool signalled = !strcmp(argument[3], "signal");
    union sigval how = {.sival_int = atoi(argument[4]) + (signalled ? by_signal : 0)};
    if (sigqueue(atoi(argument[2]), end_signal, how) != 0) fail("end");
    return 0;
  }
  fputs("usage: ssi-stub --replace PID FILE | --stand FILE | --end PID code|signal N\n", stderr);
  return 2;
}
