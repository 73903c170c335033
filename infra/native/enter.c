/*
 * ssi-enter: starts a service of a node whose container is another one. The caller's container shares
 * the node's pid and network namespaces; this enters the rest (mount, uts, ipc), so that the service sees
 * the files its programs see, and takes the caller's own code along: DIR of the caller's container, mounted at
 * AT among the node's. So the code can be replaced without the node. What stood at AT is detached.
 *
 *   ssi-enter DIR AT -- CMD ARGS...      CMD as found in the node; AT is made where it is missing
 *
 * [setns(2), open_tree(2), move_mount(2)]
 * cc -std=c11 -O2 -Wall -Wextra -o ssi-enter enter.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int umount2(const char *target, int flags); /* <sys/mount.h> and <linux/mount.h> do not go together */
enum { detach = 2 /* MNT_DETACH */ };

#define need(call, what)                                                \
  do {                                                                  \
    if ((call) < 0) {                                                   \
      fprintf(stderr, "ssi-enter: %s: %s\n", (what), strerror(errno)); \
      return 1;                                                         \
    }                                                                   \
  } while (0)

static void make_folders(const char *path) {
  char part[PATH_MAX];
  snprintf(part, sizeof part, "%s", path);
  for (char *slash = part + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
    *slash = 0;
    mkdir(part, 0755);
  }
  mkdir(part, 0755);
}

int main(int count, char **argument) {
  static const struct {
    const char *path;
    int type;
  } kinds[] = {{"/proc/1/ns/uts", CLONE_NEWUTS},
               {"/proc/1/ns/ipc", CLONE_NEWIPC},
               {"/proc/1/ns/mnt", CLONE_NEWNS}}; /* last: the paths above are looked up before */
  if (count < 5 || strcmp(argument[3], "--")) {
    fputs("usage: ssi-enter DIR AT -- CMD ARGS...\n", stderr);
    return 2;
  }
  const char *at = argument[2];
  int code = (int)syscall(SYS_open_tree, AT_FDCWD, argument[1], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  need(code, argument[1]);
  for (int i = 0; i < 3; i++) {
    int fd = open(kinds[i].path, O_RDONLY | O_CLOEXEC);
    need(fd, kinds[i].path);
    need(setns(fd, kinds[i].type), kinds[i].path);
  }
  make_folders(at);
  while (umount2(at, detach) == 0) {}
  need((int)syscall(SYS_move_mount, code, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH), at);
  need(chdir("/"), "/");
  execvp(argument[4], argument + 4);
  need(-1, argument[4]);
}
