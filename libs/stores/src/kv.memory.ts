// The Kv port in memory: one bucket shared by the clients of one process. Entries are delivered to
// watchers in the order they were written, never inside the call that wrote them.
import { fail, ok } from '@ssi/contracts';
import type { Kv, KvEntry } from '@ssi/ports';

/** What a server would keep. `reachable` false: every call answers EHOSTUNREACH. */
export class KvMemoryBucket {
  readonly entries = new Map<string, KvEntry>();
  reachable = true;
  revision = 0;
  private readonly watchers = new Set<{ key: string; fn: (entry: KvEntry) => void }>();

  put(key: string, value: Uint8Array): KvEntry {
    const entry = { value: value.slice(), revision: ++this.revision };
    this.entries.set(key, entry);
    for (const w of [...this.watchers])
      if (w.key === key) queueMicrotask(() => this.tell(w, entry));
    return entry;
  }

  /** A server that lost its disk. */
  forget(): void {
    this.entries.clear();
    this.revision = 0;
  }

  watch(key: string, fn: (entry: KvEntry) => void): { stop(): void } {
    const watcher = { key, fn };
    this.watchers.add(watcher);
    const present = this.entries.get(key);
    if (present) queueMicrotask(() => this.tell(watcher, present));
    return { stop: () => this.watchers.delete(watcher) };
  }

  private tell(watcher: { fn: (entry: KvEntry) => void }, entry: KvEntry): void {
    if (this.watchers.has(watcher as never)) watcher.fn(entry);
  }
}

export function createKvMemory(bucket = new KvMemoryBucket()): Kv {
  const watches = new Set<{ stop(): void }>();
  return {
    async get(key) {
      if (!bucket.reachable) return fail('EHOSTUNREACH', 'the store is away');
      return ok(bucket.entries.get(key));
    },
    async compareAndSet(key, value, expected) {
      if (!bucket.reachable) return fail('EHOSTUNREACH', 'the store is away');
      const present = bucket.entries.get(key)?.revision ?? 0;
      if (present !== expected)
        return fail('EAGAIN', `revision is ${present}, expected ${expected}`);
      return ok(bucket.put(key, value).revision);
    },
    watch(key, onEntry) {
      const watch = bucket.watch(key, onEntry);
      watches.add(watch);
      return watch;
    },
    async close() {
      for (const w of watches) w.stop();
      watches.clear();
    },
  };
}
