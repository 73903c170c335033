// System V calls one after the other, and what each gives: said alike by the kernel and by the cluster, or one is wrong.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

static struct { long type; char text[9000]; } m;
static unsigned short values[8];

#define SAY(call) do { errno = 0; long r_ = (call); printf("%s = %ld %d\n", #call, r_, errno); } while (0)
#define SEND(t, n, f) (m.type = (t), memset(m.text, 'a' + (t), 16), msgsnd(q, &m, (n), (f)))
#define RECEIVE(n, t, f) (memset(&m, 0, sizeof m), msgrcv(q, &m, (n), (t), (f)))
#define OPS(...) semop(s, (struct sembuf[]){__VA_ARGS__}, sizeof((struct sembuf[]){__VA_ARGS__}) / sizeof(struct sembuf))

int main(void) {
  int q, s;
  SAY(msgget(40, 0));
  SAY((q = msgget(40, IPC_CREAT | IPC_EXCL | 0600)) < 0);
  SAY(msgget(40, IPC_CREAT | IPC_EXCL | 0600));
  SAY(msgget(40, 0600) == q);
  SAY(SEND(3, 5, 0));
  SAY(SEND(1, 0, 0));
  SAY(SEND(2, 8192, 0));
  SAY(SEND(0, 1, 0));
  SAY(SEND(-1, 1, 0));
  SAY(SEND(1, 8193, 0));
  SAY(msgsnd(-1, &m, 1, 0));
  SAY(msgsnd(q + 1, &m, 1, 0));
  SAY(SEND(5, 8187, IPC_NOWAIT));
  SAY(SEND(5, 1, IPC_NOWAIT));
  SAY(RECEIVE(4, 3, 0));
  SAY(RECEIVE(4, 3, MSG_NOERROR));
  printf("%ld %.4s\n", m.type, m.text);
  SAY(RECEIVE(100, 3, IPC_NOWAIT));
  SAY(RECEIVE(9000, -2, 0));
  printf("%ld\n", m.type);
  SAY(RECEIVE(9000, 2, MSG_EXCEPT | IPC_NOWAIT));
  printf("%ld %.3s\n", m.type, m.text);
  struct msqid_ds d;
  SAY(msgctl(q, IPC_STAT, &d));
  printf("%lu %lu %lu %o\n", (unsigned long)d.msg_qnum, (unsigned long)d.__msg_cbytes, (unsigned long)d.msg_qbytes, d.msg_perm.mode & 0777);
  d.msg_qbytes = 100, d.msg_perm.mode = 0644;
  SAY(msgctl(q, IPC_SET, &d));
  SAY(msgctl(q, IPC_STAT, &d));
  printf("%lu %o\n", (unsigned long)d.msg_qbytes, d.msg_perm.mode & 0777);
  SAY(SEND(1, 1, IPC_NOWAIT));
  SAY(RECEIVE(9000, 0, 0));
  SAY(RECEIVE(9000, 0, IPC_NOWAIT));
  SAY(msgctl(q, IPC_RMID, 0));
  // EINVAL or EIDRM: whether the kernel knows that it was there depends on what came since.
  printf("gone %d\n", msgctl(q, IPC_STAT, &d) < 0 && (errno == EINVAL || errno == EIDRM));

  SAY(semget(41, 0, IPC_CREAT | 0600));
  SAY((s = semget(41, 3, IPC_CREAT | 0600)) < 0);
  SAY(semget(41, 4, 0));
  SAY(semget(41, 0, 0) == s);
  SAY(semctl(s, 0, SETVAL, 5));
  SAY(semctl(s, 0, GETVAL));
  SAY(semctl(s, 3, GETVAL));
  SAY(semctl(s, 0, SETVAL, 40000));
  SAY(OPS({0, -2, 0}, {1, 1, 0}));
  SAY(OPS({0, -9, IPC_NOWAIT}, {1, 1, 0}));
  SAY(OPS({2, 0, 0}));
  SAY(OPS({0, 0, IPC_NOWAIT}));
  SAY(OPS({5, 1, 0}));
  SAY(semop(s, (struct sembuf[]){{0, 1, 0}}, 0));
  SAY(semtimedop(s, (struct sembuf[]){{2, -1, 0}}, 1, &(struct timespec){0, 20000000}));
  SAY(semtimedop(s, (struct sembuf[]){{2, -1, 0}}, 1, &(struct timespec){0, -1}));
  SAY(OPS({0, 32767, 0}));
  SAY(semctl(s, 0, GETALL, values));
  printf("%d %d %d\n", values[0], values[1], values[2]);
  values[0] = 7, values[1] = 8, values[2] = 9;
  SAY(semctl(s, 0, SETALL, values));
  SAY(semctl(s, 2, GETVAL));
  SAY(semctl(s, 2, GETNCNT));
  SAY(semctl(s, 2, GETZCNT));
  SAY(semctl(s, 0, 9999));
  struct semid_ds e;
  SAY(semctl(s, 0, IPC_STAT, &e));
  printf("%lu %o\n", (unsigned long)e.sem_nsems, e.sem_perm.mode & 0777);
  SAY(semctl(s, 0, IPC_RMID));
  return 0;
}
