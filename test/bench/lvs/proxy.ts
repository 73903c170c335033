// Our data plane in user space as a process: carries 10.9.0.1:80 to the servers named until SIGTERM.
import type { VirtualService } from '@ssi/contracts';
import { systemClock, systemRandom } from '@ssi/linux';
import { proxyDataPlane } from '@ssi/lvs-director';

const service: VirtualService = JSON.parse(process.argv[2] ?? '');
const plane = proxyDataPlane({ clock: systemClock(), random: systemRandom() });
const applied = await plane.apply([{ service, places: { by: 'turn', servers: [] } }]);
if (!applied.ok) throw new Error(applied.detail);
process.stdout.write('ready\n');
process.once('SIGTERM', () => void plane.clear().then(() => process.exit(0)));
