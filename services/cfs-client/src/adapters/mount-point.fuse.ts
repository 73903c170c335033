// The mount in this process's mount namespace, which is its node's. Names, attributes and data are asked for
// anew each time: nothing is in the kernel's caches that another node could change.
import { mkdirSync } from 'node:fs';
import { cfsDataMax } from '@ssi/contracts';
import { isMounted, mount, unmount } from '@ssi/fuse';
import type { MountPoint } from '../ports.ts';

export const fuseMountPoint = (target: string): MountPoint => ({
  async mount(fs) {
    // What a killed client left: it answers nobody any more.
    while (isMounted(target)) {
      const left = await unmount(target, 'lazy');
      if (left < 0) throw new Error(`${target} is mounted already, and cannot be unmounted`);
    }
    mkdirSync(target, { recursive: true });
    const mounted = await mount(
      fs,
      { target, name: 'cfs', subtype: 'cfs' },
      {
        features: { maxWrite: cfsDataMax, cacheInvalidation: 'auto', readdirplus: 'never' },
        ...{ entryTtlMs: 0, attributesTtlMs: 0 },
      },
    );
    return {
      gone: mounted.session.ended,
      unmount: async () => void (await mounted.unmount('lazy')),
    };
  },
});
