// Sockets as descriptors, without Node between: for whoever carries bytes from one to another. Each call returns
// what the system's does, or the negative errno; none waits. [recv(2), send(2), shutdown(2), fcntl(2)]
import koffi from 'koffi';

const library = koffi.load(null);
const bind = (declaration: string) => library.func(declaration);
const orErrno = (result: number): number => (result < 0 ? -koffi.errno() : result);

const recvRaw = bind('long recv(int fd, uint8_t *into, size_t bytes, int flags)');
const sendRaw = bind('long send(int fd, const uint8_t *from, size_t bytes, int flags)');
const shutdownRaw = bind('int shutdown(int fd, int how)');
const fcntlRaw = bind('int fcntl(int fd, int command, long argument)');
const setsockoptRaw = bind(
  'int setsockopt(int fd, int level, int name, const int *value, uint bytes)',
);
const closeRaw = bind('int close(int fd)');

const dontWait = 0x40;
const noSignal = 0x4000;

/** 0: the peer has ended. */
export const receive = (fd: number, into: Uint8Array): number =>
  orErrno(Number(recvRaw(fd, into, into.length, dontWait)));

export const transmit = (fd: number, bytes: Uint8Array, length: number): number =>
  orErrno(Number(sendRaw(fd, bytes, length, dontWait | noSignal)));

export const endWriting = (fd: number): number => orErrno(shutdownRaw(fd, 1));

/** Closes; the peer gets a reset. [socket(7): SO_LINGER] */
export function resetSocket(fd: number): void {
  const [solSocket, soLinger] = [1, 13];
  setsockoptRaw(fd, solSocket, soLinger, [1, 0], 8);
  closeRaw(fd);
}

/**
 * The descriptor of a socket of Node's, that Node no longer knows. It must not have read: what it has in its own buffer
 * is lost. Negative errno: it has none, and was destroyed.
 */
export function takeDescriptor(socket: { destroy(): unknown }): number {
  const { fd } = (socket as { _handle?: { fd?: number } })._handle ?? {};
  const fDupfdCloexec = 1030;
  const own = fd === undefined || fd < 0 ? -9 : orErrno(fcntlRaw(fd, fDupfdCloexec, 0));
  socket.destroy();
  return own;
}

const socketRaw = bind('int socket(int domain, int type, int protocol)');
const sendAllRaw = bind('long send(int fd, const uint8_t *from, size_t bytes, int flags)');

/** One question to a part of the kernel in this network namespace, and whether it said yes. [netlink(7)] */
export class Netlink {
  readonly #fd: number;

  constructor(_family: 'netfilter') {
    const [afNetlink, sockRaw, cloexec, netfilter] = [16, 3, 0x80000, 12];
    this.#fd = orErrno(socketRaw(afNetlink, sockRaw | cloexec, netfilter));
  }

  /** The errno (negative) of the first message that was refused, or 0. The last one asks for an acknowledgement. */
  ask(batch: Uint8Array): number {
    if (this.#fd < 0) return this.#fd;
    const [solSocket, sndbufForce, rcvbufForce] = [1, 32, 33];
    for (const name of [sndbufForce, rcvbufForce])
      setsockoptRaw(this.#fd, solSocket, name, [2 * batch.length + 65_536], 4);
    const sent = orErrno(Number(sendAllRaw(this.#fd, batch, batch.length, 0)));
    if (sent < 0) return sent;
    // The kernel has done it all when send returns: what it says is there.
    const answer = new Uint8Array(65_536);
    const got = receive(this.#fd, answer);
    if (got < 20) return got < 0 ? got : -5;
    // nlmsghdr, then the errno of an NLMSG_ERROR; 0 acknowledges.
    return new DataView(answer.buffer).getInt32(16, true);
  }

  close(): void {
    if (this.#fd >= 0) closeRaw(this.#fd);
  }
}
