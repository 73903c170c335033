// An open out-of-line connection handed to a program as a descriptor. Node must read nothing of it any
// more: a paused socket still fills its buffer, so the handle itself is told to stop.
import type { Socket } from 'node:net';
import type { BareConnection } from '@ssi/ports';

/** What Node's TCP sockets have, and its documentation does not mention. [node: lib/net.js] */
interface Handle {
  readonly fd: number;
  readStop(): void;
}

/** Throws where `rest`, what was read beyond the greeting, is not empty: the peer speaks out of turn. */
export function bareConnection(socket: Socket, rest: Uint8Array): BareConnection {
  const { _handle: handle } = socket as unknown as { readonly _handle: Handle | null };
  // An encrypted one has no descriptor to speak of.
  if (!handle || !(handle.fd >= 0) || rest.length > 0)
    throw new Error('not a connection to hand over');
  handle.readStop();
  return { fd: handle.fd, close: () => socket.destroy() };
}
