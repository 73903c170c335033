// Our proof is the one that the nkeys package makes.
import { nkeyAuthenticator, nkeys } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { nkeyProof } from '../src/nkey.ts';

test('nkey: same public key and signature as the nkeys package, for any seed', () => {
  for (let i = 0; i < 20; i++) {
    const seed = nkeys.createUser().getSeed();
    const text = new TextDecoder().decode(seed);
    const nonce = `nonce-${i}`;
    expect(nkeyProof(text)(nonce)).toEqual(nkeyAuthenticator(seed)(nonce));
    expect(nkeyProof(text)()).toEqual(nkeyAuthenticator(seed)());
  }
});

test('nkey: what is no seed is refused', () => {
  const seed = new TextDecoder().decode(nkeys.createUser().getSeed());
  const swapped = seed.slice(0, 20) + (seed[20] === 'A' ? 'B' : 'A') + seed.slice(21);
  for (const wrong of ['', 'SU', seed.toLowerCase(), swapped])
    expect(() => nkeyProof(wrong)).toThrow(/seed/);
});
