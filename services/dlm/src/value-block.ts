// The lock value block: 64 bytes that live at the resource and travel with grants.
// [VMS: lock value block; fs/dlm/lock.c: set_lvb_lock, set_lvb_unlock]
import { flag } from './flags.ts';
import { type Lock, type Resource, valueBytes } from './resource.ts';

/** A copy for the owner; undefined: it did not ask. A block never written is zeros. */
export function readValue(r: Resource, lock: Lock): Uint8Array | undefined {
  if (!(lock.flags & flag.VALBLK)) return undefined;
  return r.value?.slice() ?? new Uint8Array(valueBytes);
}

/** From the lock that gives up a mode that may write it. A shorter value is filled up with zeros. */
export function writeValue(r: Resource, lock: Lock): void {
  if (lock.flags & flag.IVVALBLK) {
    r.valueInvalid = true;
    return;
  }
  if (!(lock.flags & flag.VALBLK) || !lock.value) return;
  r.value = new Uint8Array(valueBytes);
  r.value.set(lock.value.subarray(0, valueBytes));
  r.valueSeq++;
  r.valueInvalid = false;
}
