// What the client refuses without asking anybody: its server has no operations.
import { errno, type Filesystem, type Request } from '@ssi/fuse';
import { systemClock } from '@ssi/linux';
import { expect, test } from 'vitest';
import { clusterFilesystem, type Server } from '../src/index.ts';

type Body = Parameters<NonNullable<Filesystem['setxattr']>>[1];

test('CFS: client: an access control list, which nobody would heed, is refused', async () => {
  const none = {} as Server;
  const { operations } = clusterFilesystem({ server: none, name: '1-a', clock: systemClock() });
  const body = { name: 'system.posix_acl_access', value: new Uint8Array(44), flags: 0 } as Body;
  const done = await operations.setxattr?.({ node: 1 } as Request, body);
  expect(done).toBe(-errno.EOPNOTSUPP);
});
