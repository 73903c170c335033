// Random mutations of a small tree, for tests: names and inodes that often meet.
import type { CfsMutation } from '@ssi/contracts';
import fc from 'fast-check';

const name = fc.constantFrom('a', 'b', 'c');
const ino = fc.integer({ min: 1, max: 8 });
const client = fc.constantFrom('n1', 'n2');
const asked = {
  at: fc.tuple(fc.nat(1000), fc.nat(999_999_999)),
  uid: fc.nat(2),
  gid: fc.nat(2),
};
const named = { parent: ino, name };

export const anyMutation: fc.Arbitrary<CfsMutation> = fc.oneof(
  fc.record({
    op: fc.constant('make' as const),
    ...{ ...asked, ...named, mode: fc.constantFrom(0o100644, 0o040755, 0o042755) },
  }),
  fc.record({
    op: fc.constant('tmpfile' as const),
    ...{ ...asked, parent: ino, mode: fc.constant(0o100600), client },
  }),
  fc.record({ op: fc.constant('link' as const), ...asked, ...named, ino }),
  fc.record({ op: fc.constant('unlink' as const), ...asked, ...named }),
  fc.record({ op: fc.constant('rmdir' as const), ...asked, ...named }),
  fc.record({
    op: fc.constant('rename' as const),
    ...{ ...asked, ...named, newParent: ino, newName: name },
    how: fc.constantFrom('replace' as const, 'noReplace' as const, 'exchange' as const),
  }),
  fc.record({ op: fc.constant('setattr' as const), ...asked, ino, size: fc.nat(2 ** 44) }),
  fc.record({ op: fc.constant('setattr' as const), ...asked, ino, owner: fc.nat(5) }),
  fc.record({
    op: fc.constant('xattr' as const),
    ...{ ...asked, ino, name: fc.constantFrom('user.a', 'user.b') },
    value: fc.uint8Array({ maxLength: 4 }),
    how: fc.constantFrom('any' as const, 'create' as const, 'replace' as const),
  }),
  fc.record({
    op: fc.constant('xattr' as const),
    ...{
      ...asked,
      ino,
      name: fc.constantFrom('user.a', 'user.b'),
      how: fc.constant('any' as const),
    },
  }),
  fc.record({ op: fc.constantFrom('open' as const, 'release' as const), ...asked, ino, client }),
  fc.record({ op: fc.constant('forget' as const), ...asked, client: fc.constant('n3') }),
);
