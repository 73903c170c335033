// A key service: one of which a single instance in the cluster is active (IPC nameserver, CFS server of a
// file system, LVS director of an address); the others stand by. The view says who. [CI: key services]
import { z } from 'zod';
import { nodeNum, transId } from './ids.ts';

/** Contract name, or one of several instances of it: `ipc`, `cfs.root`. */
export const keyName = z.string().regex(/^[A-Za-z0-9_]{1,32}(\.[A-Za-z0-9_-]{1,64})?$/);

export const keyService = z.object({
  /** Where the active instance is. While that node is not UP nobody is active. */
  num: nodeNum,
  /** Transid of the view that named it, its epoch: greater with every successor. */
  since: transId,
  /** It is to be handed over to this node: the instance at `num` stands down. */
  to: nodeNum.optional(),
});
export type KeyService = z.infer<typeof keyService>;

/** The service of a key: `cfs` of `cfs.root`. */
export const serviceOfKey = (name: string): string => name.split('.')[0] ?? name;
