/*
 * criu-shim.so, preloaded into criu by .tools/bin/criu.
 *
 * criu reads the resource limits of what it dumps by prlimit(2). For a process of another user that
 * needs CAP_SYS_RESOURCE, which containers and small virtual machines often withhold even from root:
 * the dump ends with "Can't get rlimit 0". The kernel shows the same numbers in /proc/PID/limits,
 * so a read that was refused (EPERM) is answered from there. Setting a limit, and every other error,
 * passes through unchanged. [prlimit(2), proc_pid_limits(5)]
 *
 * With SSI_SENT_AHEAD=FILE (lines `PID START END`, hexadecimal addresses, sorted) criu finds no pages in
 * these ranges, so they are left out of a dump: ssi-ahead has sent them. [criu: pagemap-cache.c]
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "pagemap.h"

/* How /proc/PID/limits names each limit. [fs/proc/base.c: lnames] */
static const char *const limit_names[] = {
    [RLIMIT_CPU] = "Max cpu time",
    [RLIMIT_FSIZE] = "Max file size",
    [RLIMIT_DATA] = "Max data size",
    [RLIMIT_STACK] = "Max stack size",
    [RLIMIT_CORE] = "Max core file size",
    [RLIMIT_RSS] = "Max resident set",
    [RLIMIT_NPROC] = "Max processes",
    [RLIMIT_NOFILE] = "Max open files",
    [RLIMIT_MEMLOCK] = "Max locked memory",
    [RLIMIT_AS] = "Max address space",
    [RLIMIT_LOCKS] = "Max file locks",
    [RLIMIT_SIGPENDING] = "Max pending signals",
    [RLIMIT_MSGQUEUE] = "Max msgqueue size",
    [RLIMIT_NICE] = "Max nice priority",
    [RLIMIT_RTPRIO] = "Max realtime priority",
    [RLIMIT_RTTIME] = "Max realtime timeout",
};

static rlim64_t parse_limit(const char *text) {
  return strcmp(text, "unlimited") == 0 ? RLIM64_INFINITY : strtoull(text, NULL, 10);
}

/* 0 and *limit, or -1 with errno as the refused prlimit(2) would have left it. */
static int limit_from_proc(pid_t pid, unsigned resource, struct rlimit64 *limit) {
  char path[32], line[256], soft[32], hard[32];
  int result = -1;
  if (resource >= sizeof limit_names / sizeof *limit_names || !limit_names[resource]) {
    errno = EPERM;
    return -1;
  }
  snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
  FILE *limits = fopen(path, "re");
  if (limits) {
    size_t length = strlen(limit_names[resource]);
    while (result != 0 && fgets(line, sizeof line, limits)) {
      if (strncmp(line, limit_names[resource], length) != 0) continue;
      if (sscanf(line + length, "%31s %31s", soft, hard) != 2) break;
      limit->rlim_cur = parse_limit(soft);
      limit->rlim_max = parse_limit(hard);
      result = 0;
    }
    fclose(limits);
  }
  if (result != 0) errno = EPERM;
  return result;
}

/* 64-bit Linux has one layout for both, so prlimit and prlimit64 are one function. */
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "needs a 64-bit machine");

int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new_limit,
              struct rlimit64 *old_limit) {
  static int (*next)(pid_t, int, const struct rlimit64 *, struct rlimit64 *);
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "prlimit64");
  int result = next(pid, (int)resource, new_limit, old_limit);
  if (result == -1 && errno == EPERM && !new_limit && old_limit)
    return limit_from_proc(pid, resource, old_limit);
  return result;
}

int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new_limit,
            struct rlimit *old_limit) {
  return prlimit64(pid, resource, (const struct rlimit64 *)new_limit, (struct rlimit64 *)old_limit);
}

/* Some builds of criu go round the C library's prlimit by syscall(2). Six arguments are the most a
 * system call takes, so passing six on is right for all of them. */
long syscall(long number, ...) {
  static long (*next)(long, ...);
  long arg[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) arg[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_prlimit64)
    return prlimit64((pid_t)arg[0], (enum __rlimit_resource)arg[1],
                     (const struct rlimit64 *)arg[2], (struct rlimit64 *)arg[3]);
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "syscall");
  return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

struct hidden {
  int pid;
  uint64_t start, end;
};
static struct hidden *hidden;
static size_t hidden_count;

/* Not to have it would be to dump pages twice; a dump that is wrong would be worse. */
static void load_hidden(const char *path) {
  FILE *file = fopen(path, "re");
  struct hidden range;
  if (!file) abort();
  while (fscanf(file, "%d %lx %lx", &range.pid, &range.start, &range.end) == 3) {
    hidden = realloc(hidden, (hidden_count + 1) * sizeof *hidden);
    if (!hidden) abort();
    hidden[hidden_count++] = range;
  }
  fclose(file);
}

static int pid_of_pagemap(int fd) {
  char link[32], path[64] = "";
  int pid = 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, path, sizeof path - 1) < 0) return 0;
  return sscanf(path, "/proc/%d/pagemap", &pid) == 1 ? pid : 0;
}

/* A scan that would begin in a hidden range finds nothing up to its end, one that reaches it ends there:
 * criu goes on where a scan says that it stopped. */
static int scan_unhidden(int fd, struct pm_scan_arg *scan,
                         int (*next)(int, unsigned long, void *)) {
  int pid = pid_of_pagemap(fd);
  uint64_t end = scan->end;
  for (size_t i = 0; i < hidden_count; i++) {
    const struct hidden *h = &hidden[i];
    if (h->pid != pid || h->end <= scan->start || h->start >= end) continue;
    if (h->start <= scan->start) {
      scan->walk_end = h->end < end ? h->end : end;
      return 0;
    }
    scan->end = h->start;
    break;
  }
  int result = next(fd, PAGEMAP_SCAN, scan);
  scan->end = end;
  return result;
}

int ioctl(int fd, unsigned long request, ...) {
  static int (*next)(int, unsigned long, void *);
  static int asked;
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "ioctl");
  if (request != PAGEMAP_SCAN) return next(fd, request, argument);
  const char *path = getenv("SSI_SENT_AHEAD");
  if (path && !asked) load_hidden(path);
  asked = 1;
  return hidden_count ? scan_unhidden(fd, argument, next) : next(fd, request, argument);
}
