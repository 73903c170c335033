// Every export of ICS, by file.
export { type NatsBridge, natsBridge, type Side } from './bridge.nats.ts';
export { type Answers, callAll } from './broadcast.ts';
export { credentialOf } from './credential-file.ts';
export { type Encryption, encryptionOf } from './encryption.ts';
export {
  busTls,
  connectBus,
  createEndpoint,
  type Endpoint,
  type EndpointOptions,
} from './endpoint.ts';
export { type Identity, identityOf } from './hello.ts';
export { createIcs, type IcsEndpoint, type IcsOptions, type PeerState } from './ics.ts';
export { createKeyCalls, type KeyCalls } from './key-calls.ts';
export { createKeyRole, type KeyRole } from './key-role.ts';
export {
  linkMembership,
  type MembershipLink,
  type MembershipLinkOptions,
} from './membership-link.ts';
export { nkeyProof } from './nkey.ts';
export { processEnd } from './process-end.ts';
export { linkRouter, type RouterLink, type RouterLinkOptions } from './router-link.ts';
export { memoryStreams } from './stream.memory.ts';
export { tcpStreams } from './stream.tcp.ts';
export { MemoryBus } from './transport.memory.ts';
export { type NatsTransportOptions, natsTransport } from './transport.nats.ts';
export { type TcpTransport, type TcpTransportOptions, tcpTransport } from './transport.tcp.ts';
export type { Claim, Outgoing, Receiver, Transport, Via } from './transport.ts';
export {
  enterUnixDoor,
  openUnixDoor,
  type UnixDoor,
  type UnixEndpoint,
} from './transport.unix.ts';
export { inCommon, type VersionSpan } from './version.ts';
