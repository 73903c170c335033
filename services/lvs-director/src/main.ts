// Process entry: environment -> director; SIGTERM -> stop.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, lvs, ok } from '@ssi/contracts';
import { enter, serviceEnvironment } from '@ssi/entry';
import { z } from 'zod';
import { linkOf, linuxAddresses } from './adapters/addresses.linux.ts';
import { byForwarding } from './adapters/data-plane.by-forwarding.ts';
import { directDataPlane } from './adapters/data-plane.direct.ts';
import { nftDataPlane } from './adapters/data-plane.nft.ts';
import { changePlacesNow } from './adapters/places.netlink.ts';
import { hostProber } from './adapters/prober.host.ts';
import { linuxSockets } from './adapters/sockets.linux.ts';
import { fileTableStore } from './adapters/table-store.file.ts';
import { createLvs } from './service.ts';

const entry = await enter({
  name: lvs.name,
  environment: serviceEnvironment.extend({
    /** A folder of the node on its disk: the table is kept there. */
    SSI_STATE_DIR: z.string().min(1),
  }),
});
const { clock, random, log, tcp, addresses, env } = entry;
const { ics, setMap } = entry.endpoint;
const tools = fileURLToPath(new URL('../../../.tools/bin', import.meta.url));
const nft = [`${tools}/nft`];
const service = createLvs({
  ...{ ics, clock, random, log, tcp, setMap },
  plane: byForwarding({
    direct: directDataPlane({
      ...{ nft, own: addresses },
      device: linkOf(addresses[0] ?? '')?.name ?? 'eth0',
    }),
    nat: nftDataPlane({
      ...{ nft, conntrack: ['cat', '/proc/net/nf_conntrack'] },
      changePlaces: changePlacesNow,
    }),
    forwardPackets: () => {
      try {
        writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
        return ok();
      } catch (error) {
        return fail('EIO', `packets cannot be handed on: ${String(error)}`);
      }
    },
  }),
  addresses: linuxAddresses({ ip: [`${tools}/ip`], clock }),
  sockets: linuxSockets(),
  store: fileTableStore(`${env.SSI_STATE_DIR}/lvs.json`),
  prober: hostProber(clock),
  servicePid: process.pid,
});
entry.stopWith(() => service.stop());
await service.start();
entry.ready();
