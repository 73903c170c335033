// A program that holds a lock until another wants it: `lock-giver.ts CLUSTER NODE RESOURCE`. By the library for
// clients, so what it holds is to stay its own while it moves.
import { connect } from '@ssi/client';
import { value } from './busy.ts';

const [cluster, node, resource = ''] = process.argv.slice(2);
const handle = value(await connect({ cluster }));
const space = value(await handle.lockspace('default', { node: Number(node) }));
const wanted = Promise.withResolvers<string>();
const lock = value(await space.lock(resource, 'EX', { onBlocking: wanted.resolve }));
console.log(`holds ${lock.token}`);
space.lost.addEventListener('abort', () => console.log(`lost ${space.lost.reason}`));
console.log(`gives it up for ${await wanted.promise}`);
value(await space.unlock(lock));
await space.close();
await handle.close();
