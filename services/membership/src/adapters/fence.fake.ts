// A fence agent in memory: remembers whom it turned off, or fails as often as told.
import { fail, type MemberId, ok } from '@ssi/contracts';
import type { Fence } from '../ports.ts';

export interface FakeFence extends Fence {
  readonly fenced: MemberId[];
  failures: number;
}

export function createFakeFence(): FakeFence {
  const self: FakeFence = {
    fenced: [],
    failures: 0,
    async fence(node) {
      if (self.failures > 0) {
        self.failures--;
        return fail('EIO', 'the agent could not');
      }
      self.fenced.push(node);
      return ok();
    },
  };
  return self;
}
