// The smallest service: it opens what all stand on, says so, and says when it is stopped.
import { enter, serviceEnvironment } from '../src/index.ts';

const entry = await enter({ name: 'dlm', environment: serviceEnvironment });
entry.stopWith(() => entry.log.info('stopping'));
entry.ready();
