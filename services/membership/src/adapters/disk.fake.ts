// Membership's memory in memory; outlives the membership that writes to it. `reboot` is the node's
// tmpfs going, `lose` the disk.
import type { Disk, Stored } from '../ports.ts';

export interface FakeDisk extends Disk {
  reboot(): void;
  lose(): void;
}

export function createFakeDisk(): FakeDisk {
  let stored: Stored = { bootCount: 0 };
  return {
    load: async () => stored,
    async saveBootCount(bootCount) {
      stored = { ...stored, bootCount };
    },
    async saveLife(life) {
      stored = { ...stored, life };
    },
    async saveView(remembered) {
      stored = { ...stored, remembered };
    },
    reboot() {
      const { life: _, ...rest } = stored;
      stored = rest;
    },
    lose() {
      stored = { bootCount: 0 };
    },
  };
}
