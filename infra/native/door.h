/*
 * door.h: the socket by which a program asks the node that it is on. Each node has its own folders below /run/ssi/node;
 * only one's with the socket.
 */
#ifndef SSI_DOOR_H
#define SSI_DOOR_H
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define nodes_dir "/run/ssi/node"

/* False: this process is on no node, and `door` is what it was. Allocates, so not after a fork; errno stays. */
static bool find_door(const char *name, struct sockaddr_un *door) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  struct dirent *entry;
  bool found = false;
  int before = errno;
  DIR *dir = opendir(nodes_dir);
  while (dir && !found && (entry = readdir(dir))) {
    int n = snprintf(at.sun_path, sizeof at.sun_path, nodes_dir "/%s/%s", entry->d_name, name);
    found = n < (int)sizeof at.sun_path && access(at.sun_path, F_OK) == 0;
  }
  if (dir) closedir(dir);
  if (found) *door = at;
  errno = before;
  return found;
}
#endif
