// A data plane in a process of its own, for tests that need it in another network namespace: one call a line on
// stdin, as [method, argument]; its reply as a line. Maps go as lists of pairs.
import { createInterface } from 'node:readline';
import { systemClock, systemRandom } from '@ssi/linux';
import { changePlacesNow, type DataPlane, nftDataPlane, proxyDataPlane } from '../../src/index.ts';

const [kind, nft = ''] = process.argv.slice(2);
const conntrack = ['cat', '/proc/net/nf_conntrack'];
const plane: DataPlane =
  kind === 'nftables'
    ? nftDataPlane({ nft: [nft], conntrack, changePlaces: changePlacesNow })
    : proxyDataPlane({ clock: systemClock(), random: systemRandom() });
const text = (value: unknown): string =>
  JSON.stringify(value, (_, v) => (v instanceof Map ? [...v] : v));

for await (const line of createInterface({ input: process.stdin })) {
  const [method, argument] = JSON.parse(line) as [keyof DataPlane, never];
  process.stdout.write(`${text(await plane[method](argument))}\n`);
}
await plane.clear();
