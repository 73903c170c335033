// Every export of the Linux bindings, by file.
export { announceAddress, type Link, whoHasAddress } from './arp.ts';
export { systemClock } from './clock.ts';
export { keepCompiledCode } from './compiled-code.ts';
export { errnoName, errnoOf } from './errno-name.ts';
export { keepHealthFile } from './health-file.ts';
export { jsonLog } from './log.ts';
export { goFirst, sessionFirst, startedFirst } from './priority.ts';
export { type ProgramSocket, serveProgramSocket } from './program-socket.ts';
export { systemRandom } from './random.ts';
export { endWriting, Netlink, receive, resetSocket, takeDescriptor, transmit } from './sockets.ts';
export {
  allocate,
  boottimeMs,
  closeFd,
  makeFifo,
  makePipe,
  nudgeTcp,
  Poller,
  peerCredentials,
  pidfdGetfd,
  pidfdOpen,
  pollHup,
  pollIn,
  pollOut,
  punchHole,
  type ReadyFd,
  seek,
  semaphoreUser,
  sendSignal,
  setNonblocking,
  setPipeSize,
  setWindowSize,
  splice,
  unread,
} from './syscalls.ts';
export { takeTerminalInput } from './terminal-input.ts';
