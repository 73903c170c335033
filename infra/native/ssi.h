/*
 * ssi.h: what a program on a node asks of its cluster by itself, by OpenSSI's names. With libssi.so:
 * cc -I infra/native prog.c -L .tools/native -lssi   [OpenSSI libcluster, section 3ssi]
 */
#ifndef SSI_H
#define SSI_H
#include <sys/types.h>

typedef unsigned int clusternode_t;

/*
 * fork(2), and the child goes on on another node. Returns the child's pid in the parent, 0 in the child, or
 * -1 and errno, and then there is no child. The child is the parent's: waitpid(2), kill(2) and the death of
 * its node (SIGKILL) work as ever. Unlike after fork(2) it leads a session of its own, its standard input is
 * /dev/null, its output is read by `ssi logs PID`, and its other descriptors must be such that can move.
 * EINVAL: no such node; EHOSTDOWN: not UP; EOPNOTSUPP: something of it cannot move, see ssi_detail();
 * ECANCELED, EBUSY, ENOSPC: it could not now; ENETDOWN: this node has no lease; ENOSYS: not on a node;
 * EAGAIN: vproc is away, or does not answer; others as fork(2). Signals wait until it returns. [rfork(3ssi)]
 */
pid_t rfork(clusternode_t node);

/* Number of the node that this executes on; 0 and errno (ENOSYS, EAGAIN). [clusternode_num(3ssi)] */
clusternode_t clusternode_num(void);

/* Why the last call of this thread failed, for people; "" where nothing is known. */
const char *ssi_detail(void);
#endif
