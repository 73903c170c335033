// Every export of the stores.

export { type JetStreamKvOptions, openJetStreamKv } from './kv.jetstream.ts';
export { createKvMemory, KvMemoryBucket } from './kv.memory.ts';
