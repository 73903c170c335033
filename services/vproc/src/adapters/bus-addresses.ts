// Where the bus is reached: what the names in its URLs stand for now, as ADDRESS:PORT of the kernel's tables.
import { lookup } from 'node:dns/promises';

/** [NATS: the default port of a client connection] */
const portDefault = '4222';

/** `urls`: nats://user:password@host:port, several with commas. Names that cannot be resolved are left out. */
export async function busAddresses(urls = ''): Promise<string[]> {
  const all = urls.split(',').flatMap((text) => {
    const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
    return url?.hostname ? [url] : [];
  });
  const found = await Promise.all(
    all.map(async ({ hostname, port }) => {
      const known = await lookup(hostname, { all: true, family: 4 }).catch(() => []);
      return known.map(({ address }) => `${address}:${port || portDefault}`);
    }),
  );
  return found.flat();
}
