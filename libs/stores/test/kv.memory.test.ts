import { createKvMemory, KvMemoryBucket } from '../src/index.ts';
import { kvSuite } from './kv.suite.ts';

kvSuite('memory', async () => {
  const bucket = new KvMemoryBucket();
  return {
    open: async () => createKvMemory(bucket),
    forget: async () => bucket.forget(),
    away: async () => {
      bucket.reachable = false;
      return async () => {
        bucket.reachable = true;
      };
    },
    stop: async () => {},
  };
});
