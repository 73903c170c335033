// Room for the images of a tree on a node's own tmpfs: asked for at the source, where criu writes them,
// and at the target, where they are restored from, before anything is stopped.
import type { MoveReason } from '@ssi/contracts';
import type { LocalNode } from './local-node.ts';

/** Room asked for beyond the estimate: page tables, file lists, a tree that grows. */
const roomFactor = 1.25;
const roomExtraBytes = 8 * 1024 * 1024;

/** Empty: there is room on this node. */
export async function roomReasons(node: LocalNode, bytesEstimate: number): Promise<MoveReason[]> {
  const need = Math.ceil(bytesEstimate * roomFactor + roomExtraBytes);
  const free = await node.deps.ports.images.freeBytes();
  if (free >= need) return [];
  const detail = `node ${node.num} has ${free} bytes for images, ${need} are needed`;
  return [{ code: 'ENOSPACE', detail }];
}
